//! What a page says on top: that something was done, what follows, what was wrong with a form.

/// A text at the top of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How it is meant.
    pub kind: NoticeKind,
    /// Plain text; markup in it is shown as text.
    pub text: String,
    /// Where it leads, after the text.
    pub link: Option<Link>,
}

/// How a notice is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something was done.
    Success,
    /// Good to know.
    Info,
    /// It has consequences.
    Warning,
    /// Something was refused or is broken.
    Danger,
}

/// A link in a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub text: String,
    /// Where it leads.
    pub href: String,
}

/// What was wrong with one field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's id; empty when no single field is to blame.
    pub field: String,
    /// The fault and its remedy, as one sentence.
    pub text: String,
}

impl Notice {
    /// A notice without a link.
    pub fn new(kind: NoticeKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), link: None }
    }

    /// Tells that something was done.
    pub fn success(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Success, text)
    }

    /// Tells what is good to know.
    pub fn info(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Info, text)
    }

    /// Tells of a consequence.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Warning, text)
    }

    /// Tells of a refusal or a defect.
    pub fn danger(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Danger, text)
    }

    /// The same notice with a link behind its text.
    #[must_use]
    pub fn with_link(self, link: Link) -> Self {
        Self { link: Some(link), ..self }
    }
}

impl NoticeKind {
    /// The class in the style sheet.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Danger => "danger",
        }
    }

    /// How urgently it is read out.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Success | Self::Info => "status",
            Self::Warning | Self::Danger => "alert",
        }
    }

    /// The word before the text for those who do not see the sign.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "Done",
            Self::Info => "Note",
            Self::Warning => "Warning",
            Self::Danger => "Error",
        }
    }
}

impl Link {
    /// A link.
    pub fn new(text: impl Into<String>, href: impl Into<String>) -> Self {
        Self { text: text.into(), href: href.into() }
    }
}

impl FieldError {
    /// The fault of the field with this id.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }
}
