//! A client of the control socket, byte by byte and in pieces, and a server's answer.
//!
//! Promises: lines do not depend on how their bytes came; a request has a verb; what announces a piece of an answer is
//! read as it is written.

use emulator_host::control::lines::{Lines, request};
use emulator_host::control::{Answer, Head, REQUEST};

use super::Script;

/// Runs one input: a byte of piece length each, and the pieces.
pub fn control(data: &[u8]) {
    let mut script = Script(data);
    let (mut whole, mut lines) = (Vec::new(), Lines::default());
    let mut taken = Vec::new();
    while let Some(len) = script.next() {
        let piece = script.take(usize::from(len));
        whole.extend_from_slice(piece);
        lines.push(piece);
        assert!(!lines.is_over() || whole.len() >= REQUEST);
        while let Some(line) = lines.take() {
            taken.push(line);
        }
        assert!(!lines.has_line());
    }
    let mut all: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    all.pop();
    assert_eq!(taken, all);
    for line in all {
        if let Some(request) = request(line) {
            assert!(request.is_object() && request["verb"].is_string());
        }
        let Ok(text) = core::str::from_utf8(line) else {
            continue;
        };
        match Head::parse(text) {
            Some(Head::Bytes(part, bytes)) => {
                let again = part.head(bytes);
                assert_eq!(
                    Head::parse(again.trim_end()),
                    Some(Head::Bytes(part, bytes))
                );
            }
            Some(Head::Whole(answer)) => assert!(!matches!(answer, Answer::Part(..))),
            None => {}
        }
    }
}
