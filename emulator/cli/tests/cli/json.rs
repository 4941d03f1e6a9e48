//! A reader of JSON for recorded answers.

use vethlab_cli::format::Value;

/// Reads one value; panics on anything else, since records are ours.
pub(crate) fn read(text: &str) -> Value {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
    };
    let value = reader.value();
    reader.space();
    assert_eq!(reader.at, reader.bytes.len(), "text after JSON: {text}");
    value
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Value) -> Value {
        assert!(self.bytes[self.at..].starts_with(word.as_bytes()));
        self.at += word.len();
        value
    }

    fn value(&mut self) -> Value {
        self.space();
        match self.bytes[self.at] {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'"' => Value::String(self.string()),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take(b']') {
                    items.push(self.value());
                    self.take(b',');
                }
                Value::Array(items)
            }
            b'{' => {
                self.at += 1;
                let mut fields = Vec::new();
                while !self.take(b'}') {
                    self.space();
                    let key = self.string();
                    assert!(self.take(b':'));
                    fields.push((key, self.value()));
                    self.take(b',');
                }
                Value::Object(fields)
            }
            _ => {
                let start = self.at;
                while self
                    .bytes
                    .get(self.at)
                    .is_some_and(|b| b"-0123456789".contains(b))
                {
                    self.at += 1;
                }
                let digits = core::str::from_utf8(&self.bytes[start..self.at]).unwrap();
                Value::Number(digits.parse().unwrap())
            }
        }
    }

    fn string(&mut self) -> String {
        assert!(self.take(b'"'));
        let mut out = Vec::new();
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(out).unwrap(),
                b'\\' => {
                    let escape = self.bytes[self.at];
                    self.at += 1;
                    match escape {
                        b'n' => out.push(b'\n'),
                        b't' => out.push(b'\t'),
                        b'r' => out.push(b'\r'),
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'u' => {
                            let hex =
                                core::str::from_utf8(&self.bytes[self.at..self.at + 4]).unwrap();
                            let code = u32::from_str_radix(hex, 16).unwrap();
                            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                            out.extend(c.to_string().bytes());
                            self.at += 4;
                        }
                        other => out.push(other),
                    }
                }
                other => out.push(other),
            }
        }
    }
}
