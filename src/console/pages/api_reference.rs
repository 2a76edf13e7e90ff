//! The management API for people (`/api-reference`): every call, and the shape of what is sent and answered.
//!
//! It shows what the `OpenAPI` document says; `console::api::reference` fills it in.

use askama::Template;

use crate::console::frame::Frame;

/// The page.
#[derive(Template)]
#[template(path = "console/api_reference.html")]
pub struct ApiReferencePage {
    /// What surrounds it.
    pub frame: Frame,
    /// Where the document is, which programs read.
    pub document: String,
    /// What holds for every call, by paragraph.
    pub about: Vec<Prose>,
    /// What every call can be answered besides.
    pub common_answers: Vec<CallAnswer>,
    /// The calls, by area.
    pub areas: Vec<CallArea>,
    /// What is sent and answered, by name.
    pub shapes: Vec<Shape>,
}

/// Text with code in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prose(pub Vec<Piece>);

/// A piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// Code.
    Code(String),
}

/// The calls of one area.
#[derive(Clone, Debug)]
pub struct CallArea {
    /// The area's anchor.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub about: Prose,
    /// Its calls.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its anchor.
    pub id: String,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, with names in braces.
    pub path: String,
    /// What it does, in a few words.
    pub summary: String,
    /// More about it; may be empty.
    pub about: Prose,
    /// What is said in the path, behind `?`, and in headers.
    pub parameters: Vec<Member>,
    /// What is sent, if anything.
    pub body: Option<Kind>,
    /// What can be answered.
    pub answers: Vec<CallAnswer>,
}

/// What a call can be answered.
#[derive(Clone, Debug)]
pub struct CallAnswer {
    /// The status.
    pub status: String,
    /// What it means.
    pub about: Prose,
    /// What is answered, if anything but an error.
    pub body: Option<Kind>,
}

/// What kind of value something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// In front of the name: `list of `, or nothing.
    pub prefix: &'static str,
    /// A plain word, or a shape's name.
    pub name: String,
    /// Does the name stand among the shapes?
    pub is_shape: bool,
}

/// Something that is said by name.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name.
    pub name: String,
    /// Where it stands (`path`, `query`, `header`); empty: in JSON.
    pub place: String,
    /// What it is.
    pub kind: Kind,
    /// Must it be said?
    pub required: bool,
    /// What it means; may be empty.
    pub about: Prose,
}

/// What is sent or answered.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: Prose,
    /// The words there are, where it is one of some.
    pub words: Vec<String>,
    /// Its members.
    pub members: Vec<Member>,
}

impl Prose {
    /// Reads text with code between backquotes.
    pub fn parse(text: &str) -> Self {
        let pieces = text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty());
        let piece = |(number, piece): (usize, &str)| {
            if number % 2 == 1 { Piece::Code(piece.to_owned()) } else { Piece::Text(piece.to_owned()) }
        };
        Self(pieces.map(piece).collect())
    }

    /// Is there nothing to read?
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stands_between_backquotes() {
        let text = |text: &str| Piece::Text(text.into());
        let code = |text: &str| Piece::Code(text.into());
        assert_eq!(Prose::parse("a `b` c"), Prose(vec![text("a "), code("b"), text(" c")]));
        assert_eq!(Prose::parse("`b`"), Prose(vec![code("b")]));
        assert!(Prose::parse("").is_empty());
    }
}
