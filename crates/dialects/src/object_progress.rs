//! Telling whether the streamed arguments of a tool call are complete.

/// Whether pieces of JSON text amount to a whole object yet, told by its brackets.
#[derive(Debug, Default)]
pub(crate) struct ObjectProgress {
    depth: u32,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

impl ObjectProgress {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether an object began and ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}
