//! Delivers finished records in order, and deletes what is not needed any more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::error::AcknowledgeError;
use crate::position::Position;
use crate::record::{Kind, Look, Record};
use crate::segment::{HEADER_WORDS, Segment};

/// The place of a record in the journal; later records have greater ones. Not consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(value: u64) -> Self {
        Self(value)
    }

    /// As a number, for logs.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

/// A finished record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub sequence: Sequence,
    /// The open record that it closes; `None`: it was appended.
    pub opened: Option<Sequence>,
    /// What was written.
    pub payload: Vec<u8>,
}

type Segments = Mutex<BTreeMap<u32, Arc<Segment>>>;

/// A place: segment and word.
pub(crate) type Place = (u32, usize);

pub(crate) struct Reader {
    pub(crate) position: Position,
    /// Where to go on: behind the record acknowledged last and whatever follows it that is not
    /// delivered.
    pub(crate) at: Place,
    /// The greatest sequence given out.
    pub(crate) delivered: u64,
    pub(crate) damaged: u64,
}

enum Next {
    Record(Place, Record),
    /// Nothing more for now; go on there.
    End(Place),
}

impl Reader {
    pub(crate) fn next_batch(&mut self, segments: &Segments, max: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut damaged = 0;
        self.at = skip(segments, self.at, &mut damaged);
        self.damaged += damaged;
        let mut at = self.at;
        while entries.len() < max {
            let Next::Record((number, word), record) = next(segments, at, &mut 0) else { break };
            at = (number, word + record.words);
            let opened = match record.kind {
                Kind::Append => None,
                Kind::Close => Some(Sequence(record.link)),
                Kind::Open | Kind::Opened => continue,
            };
            self.delivered = self.delivered.max(record.sequence);
            let sequence = Sequence(record.sequence);
            entries.push(Entry { sequence, opened, payload: record.payload });
        }
        entries
    }

    pub(crate) fn acknowledge(
        &mut self,
        segments: &Segments,
        up_to: Sequence,
    ) -> Result<(), AcknowledgeError> {
        if up_to.0 > self.delivered {
            return Err(AcknowledgeError::NotDelivered(up_to.0));
        }
        if up_to.0 > self.position.acknowledged {
            self.position.store(up_to.0)?;
        }
        let mut damaged = 0;
        let mut at = self.at;
        loop {
            at = skip(segments, at, &mut damaged);
            match next(segments, at, &mut 0) {
                Next::Record((number, word), record) if record.sequence <= up_to.0 => {
                    at = (number, word + record.words);
                }
                Next::Record(..) | Next::End(_) => break,
            }
        }
        self.at = at;
        self.damaged += damaged;
        self.delete(segments)?;
        Ok(())
    }

    /// Deletes the segments before the place where reading goes on, but for those with an open
    /// record.
    pub(crate) fn delete(&self, segments: &Segments) -> io::Result<()> {
        let before: Vec<_> =
            segments.lock().range(..self.at.0).map(|(_, segment)| Arc::clone(segment)).collect();
        for segment in before {
            if segment.open.load(Ordering::SeqCst) > 0 {
                // A closing record deleted below must not be the only one that says that a record
                // of this segment is closed.
                segment.flush()?;
                continue;
            }
            fs::remove_file(&segment.path)?;
            segments.lock().remove(&segment.number);
        }
        Ok(())
    }
}

/// Passes over what is never delivered.
fn skip(segments: &Segments, mut at: Place, damaged: &mut u64) -> Place {
    loop {
        match next(segments, at, damaged) {
            Next::Record((number, word), record)
                if matches!(record.kind, Kind::Open | Kind::Opened) =>
            {
                at = (number, word + record.words);
            }
            Next::Record(place, _) | Next::End(place) => return place,
        }
    }
}

/// The first record at or behind a place. `damaged` counts the places passed over that hold
/// something else.
fn next(segments: &Segments, (number, word): Place, damaged: &mut u64) -> Next {
    let (mut number, mut word) = (number, word);
    loop {
        let found = segments.lock().range(number..).next().map(|(_, found)| Arc::clone(found));
        let Some(segment) = found else { return Next::End((number, word)) };
        if segment.number != number {
            (number, word) = (segment.number, HEADER_WORDS);
        }
        // Before the tail: what is reserved after it was sealed is nothing.
        let sealed = segment.is_sealed();
        let tail = segment.tail();
        while word < tail {
            match segment.look(word) {
                Look::Record(record) => {
                    segment.touch(record.words);
                    return Next::Record((number, word), record);
                }
                // Somebody is writing it at this moment.
                Look::Empty if word >= segment.recovered_until => {
                    return Next::End((number, word));
                }
                Look::Empty | Look::Damaged => {
                    // What was there at start is searched apart: behind it, what is being written
                    // must not be passed over.
                    let live = word >= segment.recovered_until;
                    let end = if live { tail } else { tail.min(segment.recovered_until) };
                    // What was found at start was counted then.
                    *damaged += u64::from(live);
                    match segment.find(word + 1, end) {
                        Some((place, record)) => return Next::Record((number, place), record),
                        None if live && !sealed => return Next::End((number, word)),
                        None => word = end,
                    }
                }
            }
        }
        if !sealed {
            return Next::End((number, word));
        }
        match number.checked_add(1) {
            Some(next) => (number, word) = (next, HEADER_WORDS),
            None => return Next::End((number, word)),
        }
    }
}
