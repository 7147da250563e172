/// A setting outside its range, found by the `check` of the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {wrong}; {remedy}")]
pub struct OptionsFault {
    /// The member of the options.
    pub field: &'static str,
    /// What is wrong with it.
    pub wrong: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

impl OptionsFault {
    /// Fails unless `holds`.
    pub(crate) fn unless(
        holds: bool,
        field: &'static str,
        wrong: &'static str,
        remedy: &'static str,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, wrong, remedy }) }
    }
}
