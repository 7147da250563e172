//! Where the bytes of a view come from.

use std::ops::Range;

use super::View;

/// A run of bytes of a view: blocks of `step` bytes, each made of the next `stride` bytes of the
/// original. Bytes that were only copied are blocks of one byte made of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// First byte in the view.
    at: u32,
    /// First byte in the original.
    from: u32,
    step: u32,
    stride: u32,
}

impl Run {
    /// What the bytes of the view from `start` to `end`, both within the run, come from.
    fn origin(&self, start: usize, end: usize) -> Range<usize> {
        let (at, step, stride) = (self.at as usize, self.step as usize, self.stride as usize);
        let from = self.from as usize;
        let first = start.saturating_sub(at) / step.max(1);
        let last = end.saturating_sub(at).div_ceil(step.max(1));
        from + first * stride..from + last * stride
    }

    fn is_copy(&self) -> bool {
        self.step == 1 && self.stride == 1
    }
}

/// Where the bytes of a view come from: a few bytes for each run of bytes, none for each byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Origins {
    runs: Vec<Run>,
    length: usize,
}

impl Origins {
    /// The bytes of the original that made the bytes of this range.
    pub(super) fn of(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.min(self.length);
        let end = range.end.min(self.length);
        let (Some(first), Some(run)) = (self.index(start), self.run(start)) else { return 0..0 };
        if end <= start {
            let place = run.origin(start, start.min(self.end(first))).start;
            return place..place;
        }
        let last = self.index(end - 1).unwrap_or(first);
        let covered = |index: usize| {
            self.runs
                .get(index)
                .map(|run| run.origin(start.max(run.at as usize), end.min(self.end(index))))
        };
        let mut whole = covered(first).unwrap_or(0..0);
        if let Some(part) = covered(last) {
            whole = whole.start.min(part.start)..whole.end.max(part.end);
        }
        whole
    }

    /// The origins of the same bytes when what they come from was itself made so.
    pub(super) fn over(&self, inner: &Self, length: usize) -> Self {
        let mut whole = Self { runs: Vec::with_capacity(self.runs.len()), length: 0 };
        for (index, run) in self.runs.iter().enumerate() {
            let bytes = self.end(index) - run.at as usize;
            let source = run.from as usize;
            if run.is_copy() {
                inner.copy_to(source..source + bytes, &mut whole);
            } else if run.stride == 0 {
                whole.add(bytes, inner.of(source..source).start, run.step, 0);
            } else {
                inner.blocks_to(source, bytes, *run, &mut whole);
            }
        }
        whole.length = length;
        whole
    }

    fn copy_to(&self, range: Range<usize>, whole: &mut Self) {
        let Some(first) = self.index(range.start) else { return };
        let mut at = range.start;
        for (index, run) in self.runs.iter().enumerate().skip(first) {
            let end = self.end(index).min(range.end);
            if at >= range.end {
                break;
            }
            let step = (run.step as usize).max(1);
            // A part of a block comes from all of what the block was made of.
            let into = (at - run.at as usize) % step;
            if into != 0 {
                let part = (step - into).min(end - at);
                whole.add_block(part, run.origin(at, at + part));
                at += part;
            }
            let even = (end - at) / step * step;
            whole.add(even, run.origin(at, at).start, run.step, run.stride);
            at += even;
            if at < end {
                whole.add_block(end - at, run.origin(at, end));
                at = end;
            }
        }
    }

    fn blocks_to(&self, source: usize, bytes: usize, run: Run, whole: &mut Self) {
        let (step, stride) = ((run.step as usize).max(1), run.stride as usize);
        let mut done = 0;
        while done < bytes {
            let from = source + done / step * stride;
            let part = step.min(bytes - done);
            whole.add_block(part, self.of(from..from + stride));
            done += part;
        }
    }

    fn add_block(&mut self, bytes: usize, from: Range<usize>) {
        self.add(bytes, from.start, narrow(bytes), narrow(from.len()));
    }

    /// Adds bytes to the end: whole blocks, the first of which comes from `from`.
    fn add(&mut self, bytes: usize, from: usize, step: u32, stride: u32) {
        if bytes == 0 {
            return;
        }
        let at = self.length;
        self.length += bytes;
        if let Some(last) = self.runs.last()
            && (last.step, last.stride) == (step, stride)
        {
            let so_far = at - last.at as usize;
            let follows = last.from as usize + so_far / step.max(1) as usize * stride as usize;
            if so_far.is_multiple_of(step.max(1) as usize) && follows == from {
                return;
            }
        }
        self.runs.push(Run { at: narrow(at), from: narrow(from), step, stride });
    }

    fn index(&self, place: usize) -> Option<usize> {
        self.runs.partition_point(|run| run.at as usize <= place).checked_sub(1)
    }

    fn run(&self, place: usize) -> Option<&Run> {
        self.runs.get(self.index(place)?)
    }

    fn end(&self, index: usize) -> usize {
        self.runs.get(index + 1).map_or(self.length, |next| next.at as usize)
    }
}

/// Texts of 4 GiB and more do not come this far.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Makes a view from left to right.
#[derive(Debug, Default)]
pub(super) struct Builder {
    text: String,
    origins: Origins,
}

impl Builder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), origins: Origins::default() }
    }

    /// Copies these bytes of the source.
    pub(super) fn copy(&mut self, source: &str, range: Range<usize>) {
        if let Some(part) = source.get(range.clone()) {
            self.text.push_str(part);
            self.origins.add(part.len(), range.start, 1, 1);
        }
    }

    /// Puts a text in the place of these bytes of the source.
    pub(super) fn put(&mut self, text: &str, range: Range<usize>) {
        self.text.push_str(text);
        self.origins.add_block(text.len(), range);
    }

    /// Puts a character in the place of these bytes of the source.
    pub(super) fn put_char(&mut self, character: char, range: Range<usize>) {
        self.text.push(character);
        self.origins.add_block(character.len_utf8(), range);
    }

    pub(super) fn view(self) -> View {
        View { text: self.text, origins: self.origins }
    }
}

/// Puts texts in the place of parts of the source, which are in order and do not overlap.
pub(super) fn replaced<'p>(
    source: &str,
    parts: impl IntoIterator<Item = (Range<usize>, &'p str)>,
) -> Builder {
    let mut builder = Builder::with_capacity(source.len());
    let mut done = 0;
    for (range, text) in parts {
        if range.start < done {
            continue;
        }
        builder.copy(source, done..range.start);
        done = range.end;
        builder.put(text, range);
    }
    builder.copy(source, done..source.len());
    builder
}
