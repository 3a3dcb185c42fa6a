//! A position in all event streams at once, as a short text: sequence numbers in base 36 by partition, with dots between.
//! `1z4..3k` is after event 2560 of partition 0 and event 128 of partition 2. The longer form of `GET /v1/events`
//! (`0:2560,2:128`) is read too.

use std::collections::BTreeMap;
use std::fmt;

/// Sequence numbers last seen. What is not there was not seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(BTreeMap<u16, u64>);

impl Position {
    pub(crate) fn of(seen: BTreeMap<u16, u64>) -> Self {
        Self(seen.into_iter().filter(|(_, seq)| *seq > 0).collect())
    }

    pub(crate) fn get(&self, partition: u16) -> u64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, partition: u16, seq: u64) {
        self.0.insert(partition, seq);
    }

    /// The position when one partition is this far.
    pub(crate) fn moved(&self, partition: u16, seq: u64) -> Self {
        let mut moved = self.clone();
        moved.set(partition, seq);
        moved
    }

    pub(crate) fn as_map(&self) -> &BTreeMap<u16, u64> {
        &self.0
    }

    /// Reads either form.
    pub(crate) fn parse(text: &str, partitions: u16) -> Result<Self, String> {
        let wrong =
            || "expected the id of an event of this stream, or PARTITION:SEQ[,PARTITION:SEQ…]".to_owned();
        let mut seen = BTreeMap::new();
        if text.contains(':') {
            for part in text.split(',') {
                let (p, seq) = part.split_once(':').ok_or_else(wrong)?;
                let (p, seq) = (p.parse().map_err(|_| wrong())?, seq.parse().map_err(|_| wrong())?);
                if seen.insert(p, seq).is_some() {
                    return Err(format!("partition {p} is named twice"));
                }
            }
        } else {
            for (p, part) in (0u16..=u16::MAX).zip(text.split('.')) {
                let plain = part.bytes().all(|b| b.is_ascii_alphanumeric());
                let seq = if part.is_empty() {
                    Some(0)
                } else {
                    u64::from_str_radix(part, 36).ok().filter(|_| plain)
                };
                seen.insert(p, seq.ok_or_else(wrong)?);
            }
        }
        match seen.keys().next_back() {
            Some(last) if *last >= partitions => {
                Err(format!("there is no partition {last}; the last is {}", partitions.saturating_sub(1)))
            }
            _ if seen.values().any(|seq| *seq > i64::MAX.unsigned_abs()) => Err(wrong()),
            _ => Ok(Self::of(seen)),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.keys().next_back().copied().unwrap_or(0);
        for p in 0..=last {
            if p > 0 {
                f.write_str(".")?;
            }
            base36(self.get(p), f)?;
        }
        Ok(())
    }
}

fn base36(mut n: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0u8; 13];
    let mut at = digits.len();
    while n > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize];
        n /= 36;
    }
    f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let table: [(&[(u16, u64)], &str); 6] = [
            (&[], "0"),
            (&[(0, 1)], "1"),
            (&[(0, 2560), (2, 128)], "1z4.0.3k"),
            (&[(1, 35)], "0.z"),
            (&[(0, 36), (3, 1)], "10.0.0.1"),
            (&[(0, i64::MAX as u64)], "1y2p0ij32e8e7"),
        ];
        for (seen, text) in table {
            let position = Position::of(seen.iter().copied().collect());
            assert_eq!(position.to_string(), text);
            assert_eq!(Position::parse(text, 4), Ok(position.clone()), "{text}");
            let long: Vec<String> = seen.iter().map(|(p, s)| format!("{p}:{s}")).collect();
            if !long.is_empty() {
                assert_eq!(Position::parse(&long.join(","), 4), Ok(position));
            }
        }
        assert_eq!(Position::parse("1z4..3k", 4).unwrap().to_string(), "1z4.0.3k");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["0.0.0.0.1", "4:1", "-1", "+1", "a b", "0:1,0:2", "0:", ":1", "0:1,", "1y2p0ij32e8e8", "é"]
        {
            assert!(Position::parse(text, 4).is_err(), "{text}");
        }
    }
}
