//! Tables as Consul prints them: left aligned, no ruling. Pure.

/// Lines of `rows`, each column as wide as its widest cell and `gap` spaces apart; no spaces at
/// line ends, a newline after each line.
pub(super) fn layout<R: AsRef<[String]>>(rows: &[R], gap: usize) -> String {
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let cell = |row: &R, column: usize| row.as_ref().get(column).map_or(0, |text| text.chars().count());
    let widths: Vec<usize> = (0..columns).map(|column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (value, width) in row.as_ref().iter().zip(&widths) {
            line.push_str(&format!("{value:<width$}{:gap$}", ""));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::{layout, row};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["Node", "Address", "Status"]), row(["s1", "10.0.0.1:8301", "alive"]), row(["münchen-1", "", "left"])];
        assert_eq!(
            layout(&rows, 2),
            "Node       Address        Status\n\
             s1         10.0.0.1:8301  alive\n\
             münchen-1                 left\n"
        );
        assert_eq!(layout::<Vec<String>>(&[], 2), "");
    }
}
