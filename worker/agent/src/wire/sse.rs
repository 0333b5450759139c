//! Server-sent events: from bytes, however they are cut, to the data of each event. What the standard says to ignore is
//! ignored, so that an odd server does not break an answer.

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_return: bool,
    begun: bool,
}

impl Events {
    /// The data of all events that are complete with these bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            // A line ends with `\n`, `\r` or both.
            let second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &*line } else { line.trim_start_matches('\u{feff}') };
        self.begun = true;
        if line.is_empty() {
            self.has_data.then_some(())?;
            self.has_data = false;
            return Some(std::mem::take(&mut self.data));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name == "data" {
            if self.has_data {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
            self.has_data = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = "\u{feff}event: a\ndata: {\"x\":\"ä\"}\n\n: ping\n\nid\r\nevent: b\r\nevent: c\r\ndata: one\r\ndata:two\r\n\r\n\
            data: [DONE]\r\rdata: never ended";
        let expected = ["{\"x\":\"ä\"}", "one\ntwo", "[DONE]"];
        for size in [1, 2, 3, 7, 1_000] {
            let mut events = Events::default();
            let taken: Vec<String> = stream.as_bytes().chunks(size).flat_map(|chunk| events.take(chunk)).collect();
            assert_eq!(taken, expected, "in pieces of {size}");
        }
    }
}
