//! A JSON list cut into its elements as they are written, so that they can be passed on as they came.

use serde::de::IgnoredAny;

/// The elements of `list`, without the blanks around them; none of `null`.
pub fn elements(list: &str) -> serde_json::Result<Vec<&str>> {
    // The text is a whole list here, and only the ends of its elements are missing.
    let count = serde_json::from_str::<Option<Vec<IgnoredAny>>>(list)?.map_or(0, |all| all.len());
    let mut found = Vec::with_capacity(count);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut start = 0;
    for (at, byte) in list.bytes().enumerate() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let ends = matches!((byte, depth), (b',' | b']', 1));
        if ends && found.len() < count {
            found.push(list[start..at].trim());
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if ends || (byte == b'[' && depth == 1) {
            start = at + 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_come_as_they_are_written() {
        let list = r#" [ {"b":1, "a":[1,2]} ,"x,]\"\\",[ ] , null ] "#;
        assert_eq!(elements(list).unwrap(), [r#"{"b":1, "a":[1,2]}"#, r#""x,]\"\\""#, "[ ]", "null"]);
        for none in ["[]", " [ ] ", "null"] {
            assert_eq!(elements(none).unwrap(), [""; 0], "{none}");
        }
        for broken in ["", "[1", "{}", "1", "[1] 2", "[1,]"] {
            assert!(elements(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn they_make_the_same_list_again(text in r#"\[[\[\]{}",:0-9 a\\]{0,30}\]"#) {
            let Ok(whole) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(()) };
            let again = format!("[{}]", elements(&text).unwrap().join(","));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap(), whole);
        }
    }
}
