//! Answers of the usual kind: whole, without an error, and with nothing in them that concerns the session.

use wire::frame::{self, MAX_LARGE_LEN};

/// What was read of a server, as far as a statement's answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The whole answer up to ReadyForQuery with this status, and nothing after it.
    Whole(u8),
    /// Something that has to be looked at closer, or not all of it.
    Other,
}

impl Answer {
    /// What `data` is.
    pub(super) fn read(data: &[u8]) -> Self {
        let mut rest = data;
        while let Ok(Some(header)) = frame::header(rest, MAX_LARGE_LEN) {
            let Some((frame, after)) = rest.split_at_checked(header.len) else {
                return Self::Other;
            };
            rest = after;
            match (header.tag, frame) {
                (b'D' | b'T' | b'C' | b'1' | b'2' | b'n' | b'N', _) => {}
                (b'Z', &[.., status]) if rest.is_empty() => return Self::Whole(status),
                _ => return Self::Other,
            }
        }
        Self::Other
    }
}

/// What follows the answer to a BEGIN, if that is at the front.
pub(super) fn after_begin(data: &[u8]) -> Option<&[u8]> {
    data.strip_prefix(BEGUN)
}

/// CommandComplete of BEGIN, and ReadyForQuery inside a transaction.
const BEGUN: &[u8] = b"C\0\0\0\x0aBEGIN\0Z\0\0\0\x05T";

#[cfg(test)]
mod tests {
    use super::{Answer, BEGUN, after_begin};

    const ROWS: &[u8] = b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    #[test]
    fn a_whole_answer_ends_with_ready() {
        assert_eq!(Answer::read(ROWS), Answer::Whole(b'I'));
        for len in 0..ROWS.len() {
            assert_eq!(Answer::read(&ROWS[..len]), Answer::Other);
        }
        assert_eq!(Answer::read(&[ROWS, ROWS].concat()), Answer::Other, "one answer");
    }

    #[test]
    fn errors_settings_notifications_and_copies_are_looked_at() {
        for tag in b"ESAGHWd" {
            let strange = [&[*tag, 0, 0, 0, 4], ROWS].concat();
            assert_eq!(Answer::read(&strange), Answer::Other);
        }
    }

    #[test]
    fn begin_is_answered_in_one_way() {
        assert_eq!(after_begin(&[BEGUN, ROWS].concat()), Some(ROWS));
        assert_eq!(after_begin(ROWS), None);
        assert_eq!(Answer::read(BEGUN), Answer::Whole(b'T'));
    }
}
