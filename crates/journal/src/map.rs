//! The only unsafe code of this crate: a file seen as words of memory.
//!
//! Why it is sound: a mapping of a file is shared memory that somebody else could change or cut
//! off. The file is ours alone: it lies in a directory of mode 0700 under an exclusive file lock,
//! is created with its whole length written (so that no page lacks a block on the disk), and
//! nobody truncates it while it is mapped. Within the process all access is atomic, by words, so
//! that no other thread's write is a data race, and every value of a word is valid.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

/// A file mapped for reading and writing, shared with the page cache: what is written here
/// outlives the process without a system call.
pub(crate) struct Words {
    map: MmapRaw,
    words: usize,
}

impl Words {
    /// Maps the first `words` words of `file`, which must be that long.
    ///
    /// # Errors
    ///
    /// The file is shorter, or cannot be mapped.
    pub(crate) fn map(file: &File, words: usize) -> io::Result<Self> {
        let bytes = words.saturating_mul(8);
        if words == 0 || file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // No page of it counts as memory of the process before it is used.
        let map = MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Self { map, words })
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, so it is aligned; it is readable and writable for
        // `words * 8` bytes, which the file had when it was mapped and keeps (see above), and it
        // lives as long as `self`. `AtomicU64` has the layout of `u64`, any value is valid, and
        // this slice is the only way to the memory.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>(), self.words) }
    }

    /// Writes the changed pages among these words to the disk and waits for it.
    pub(crate) fn flush(&self, from: usize, words: usize) -> io::Result<()> {
        self.map.flush_range(from.saturating_mul(8), words.saturating_mul(8))
    }

    /// Gives back the memory of the first `words` words. What they hold stays in the page cache,
    /// from where the next use takes it.
    pub(crate) fn release(&self, words: usize) -> io::Result<()> {
        let bytes = words.min(self.words).saturating_mul(8);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: of a shared mapping of a file only the entries of the page table go: a page that
        // was written stays dirty in the page cache, and whoever reads or writes the words at this
        // moment or later gets the same page again. Every reference to them stays valid.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, 0, bytes) }
    }
}
