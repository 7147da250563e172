//! How far the journal is acknowledged: a file of two slots written in turn, so that one is whole
//! whenever the process dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const SLOT: usize = 32;

pub(crate) struct Position {
    file: File,
    turn: u64,
    /// The sequence acknowledged last; 0 if none was.
    pub(crate) acknowledged: u64,
    /// The file was there and neither slot could be read.
    pub(crate) damaged: bool,
}

impl Position {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = [0_u8; 2 * SLOT];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, read as u64)? {
                0 => break,
                count => read += count,
            }
        }
        let best = bytes.chunks_exact(SLOT).filter_map(decode).max();
        let (turn, acknowledged) = best.unwrap_or((0, 0));
        Ok(Self { file, turn, acknowledged, damaged: best.is_none() && read > 0 })
    }

    pub(crate) fn store(&mut self, acknowledged: u64) -> io::Result<()> {
        self.acknowledged = acknowledged;
        self.turn += 1;
        let slot = (self.turn % 2) * SLOT as u64;
        self.file.write_all_at(&encode(self.turn, acknowledged), slot)
    }
}

fn encode(turn: u64, acknowledged: u64) -> [u8; SLOT] {
    let mut slot = [0_u8; SLOT];
    let (values, rest) = slot.split_at_mut(16);
    for (to, value) in values.chunks_exact_mut(8).zip([turn, acknowledged]) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    let crc = u64::from(crc32fast::hash(values));
    for (to, from) in rest.iter_mut().zip(crc.to_le_bytes()) {
        *to = from;
    }
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, u64)> {
    let turn = u64::from_le_bytes(*slot.first_chunk()?);
    let acknowledged = u64::from_le_bytes(*slot.get(8..)?.first_chunk()?);
    (turn > 0 && slot == encode(turn, acknowledged)).then_some((turn, acknowledged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position");
        let mut position = Position::open(&path).unwrap();
        assert_eq!((position.acknowledged, position.damaged), (0, false));
        for sequence in 1..=5 {
            position.store(sequence).unwrap();
        }
        assert_eq!(Position::open(&path).unwrap().acknowledged, 5);
        position.file.write_all_at(&[0xff; 9], SLOT as u64 + 3).unwrap();
        assert_eq!(Position::open(&path).unwrap().acknowledged, 4);
        position.file.write_all_at(&[0xff; 9], 3).unwrap();
        let position = Position::open(&path).unwrap();
        assert_eq!((position.acknowledged, position.damaged), (0, true));
    }
}
