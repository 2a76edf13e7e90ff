//! What came of an attack, as a line of the pass list. Pure data; `cli` prints it.

/// One line of the pass list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The listener that was attacked.
    pub listener: String,
    /// What was sent.
    pub attack: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an attack; each with what was seen, or why nothing was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The listener held.
    Passed(String),
    /// It did not.
    Failed(String),
    /// It could not be tried here.
    NotProbed(String),
}

/// Everything that a probe has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In what the copy differs from the configuration, and which listeners were left out.
    pub premises: Vec<String>,
    /// By listener, in the order of the attacks.
    pub findings: Vec<Finding>,
}

/// How many attacks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The listener held.
    pub passed: usize,
    /// It did not.
    pub failed: usize,
    /// They could not be tried.
    pub not_probed: usize,
}

impl Report {
    /// How many attacks came to what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.findings {
            match finding.outcome {
                Outcome::Passed(_) => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::NotProbed(_) => counts.not_probed += 1,
            }
        }
        counts
    }
}

impl Outcome {
    /// Passed, and what was seen.
    pub(super) fn passed(seen: impl Into<String>) -> Self {
        Self::Passed(seen.into())
    }

    /// Failed, and what was seen.
    pub(super) fn failed(seen: impl Into<String>) -> Self {
        Self::Failed(seen.into())
    }
}
