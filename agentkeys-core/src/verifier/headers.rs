use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::jose::Header;

/// Headers that stood in verified tokens, by their encoded segment: an issuer writes the same few into all
/// of its tokens. What is found here is what reading the segment anew would give, and all checks of it still
/// follow.
///
/// Only a verified token adds one, so nobody but an issuer can; the oldest goes when there are
/// [`MOST_HEADERS`]. Looking takes no lock and allocates nothing.
#[derive(Default)]
pub(super) struct KnownHeaders(ArcSwap<Vec<Arc<Known>>>);

pub(super) struct Known {
    segment: Box<str>,
    header: Header<'static>,
}

impl KnownHeaders {
    /// What is known now, to borrow from.
    pub(super) fn load(&self) -> Guard<Arc<Vec<Arc<Known>>>> {
        self.0.load()
    }

    /// Keeps the header of a token that was verified.
    pub(super) fn remember(&self, segment: &str, header: Header<'_>) {
        let new = Arc::new(Known { segment: segment.into(), header: header.into_owned() });
        self.0.rcu(|known| {
            let others = known.iter().filter(|known| known.segment != new.segment);
            [&new].into_iter().chain(others).take(MOST_HEADERS).cloned().collect::<Vec<_>>()
        });
    }
}

/// The header with this encoded segment.
pub(super) fn find<'k>(known: &'k [Arc<Known>], segment: &str) -> Option<&'k Header<'static>> {
    known.iter().find(|known| *known.segment == *segment).map(|known| &known.header)
}

impl fmt::Debug for KnownHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHeaders").finish_non_exhaustive()
    }
}

/// An issuer's keys while it rotates them, and then some.
const MOST_HEADERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn known(headers: &KnownHeaders, segment: &str) -> Option<String> {
        find(&headers.load(), segment).map(|header| header.alg.to_string())
    }

    #[test]
    fn the_last_eight_are_known_each_once() {
        let headers = KnownHeaders::default();
        assert_eq!(known(&headers, "0"), None);
        for at in 0..=MOST_HEADERS {
            let json = format!("{{\"alg\":\"A{at}\"}}");
            for _ in 0..2 {
                headers.remember(&at.to_string(), Header::parse(json.as_bytes()).unwrap());
            }
        }
        assert_eq!(headers.load().len(), MOST_HEADERS);
        assert_eq!(known(&headers, "0"), None);
        for at in 1..=MOST_HEADERS {
            assert_eq!(known(&headers, &at.to_string()), Some(format!("A{at}")));
        }
    }
}
