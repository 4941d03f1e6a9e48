//! Fingerprints of findings: the same when lines are added above, different for different findings.
//!
//! A fingerprint is a 64-bit FNV-1a hash of the rule, the file, what it is about, and the text of the
//! line without the blanks around it; what then is still the same gets its number in the report.

use std::collections::BTreeMap;

use super::finding::Finding;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(parts: &[&str]) -> u64 {
    let mut hash = OFFSET;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    for part in parts {
        part.bytes().for_each(&mut add);
        // A byte that no text has ends the part.
        add(0xff);
    }
    hash
}

/// Gives each finding its fingerprint. The findings are in order.
pub(super) fn stamp(findings: &mut [Finding]) {
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for finding in findings {
        let (file, line) = finding.places.first().map_or(("", ""), |spot| {
            (spot.file.as_str(), spot.source_line.trim())
        });
        let hash = fnv(&[finding.rule, file, &finding.subject, line]);
        let number = seen.entry(hash).or_default();
        finding.fingerprint = match *number {
            0 => format!("{hash:016x}"),
            number => format!("{hash:016x}-{number}"),
        };
        *number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_of_the_ended_parts() {
        // The published value of FNV-1a for "a" is af63dc4c8601ec8c; one more step for the end.
        let of_a: u64 = 0xaf63_dc4c_8601_ec8c;
        assert_eq!(fnv(&["a"]), (of_a ^ 0xff).wrapping_mul(PRIME));
        assert_ne!(fnv(&["ab", "c"]), fnv(&["a", "bc"]));
    }
}
