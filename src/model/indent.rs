//! JSON as people read it. `http` gives it for `?pretty`, the command line prints it.

/// The same JSON with four spaces a level and a newline at the end, as Go indents it. Works on the
/// text alone, so the order of members and the form of numbers stay.
pub fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut in_text = false;
    let mut escaped = false;
    let mut opened = false;
    for &byte in json {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty object or list stays on its line.
        if opened != closes {
            new_line(&mut out, depth);
        }
        opened = false;
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                opened = true;
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out.push(b'\n');
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + depth * 4, b' ');
}
