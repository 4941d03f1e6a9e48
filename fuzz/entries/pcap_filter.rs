//! A capture filter, and behind its line a frame.
//!
//! Promises: an expression is compiled or refused with a place inside it or behind its end; what it shows
//! compiles to the same; no frame passes it and its opposite.

use core::net::IpAddr;

use ipnet::IpNet;
use switch::pcap_filter::{Names, PcapFilter};

/// A lab with one host and one network.
struct Lab;

impl Names for Lab {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let web = [
            [172, 17, 0, 2].into(),
            [0xfd00_u16, 0, 0, 0, 0, 0, 0, 2].into(),
        ];
        if name == "web" {
            web.into()
        } else {
            Vec::new()
        }
    }

    fn network(&self, name: &str) -> Vec<IpNet> {
        self.host(name).into_iter().map(IpNet::from).collect()
    }
}

/// Runs one input.
pub fn pcap_filter(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n');
    let (text, frame) = data.split_at(end.unwrap_or(data.len()));
    let frame = frame.get(1..).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let filter = match PcapFilter::compile(&text, &Lab) {
        Ok(filter) => filter,
        Err(error) => {
            let behind = text.chars().count() + 1;
            assert!((1..=behind).contains(&error.column), "{error}");
            return;
        }
    };
    let shown = PcapFilter::compile(&filter.to_string(), &Lab).expect("what it shows");
    assert_eq!(shown, filter);
    let length = frame.len() as u32;
    let passes = filter.passes(frame, length);
    assert_eq!(passes, filter.passes(frame, length));
    // The opposite may be nested too deep.
    if let Ok(opposite) = PcapFilter::compile(&format!("not ({text})"), &Lab) {
        assert!(!passes || !opposite.passes(frame, length), "{text}");
    }
}
