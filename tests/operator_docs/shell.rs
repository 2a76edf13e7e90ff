//! As much of a shell's language as the pages use: words, quotes, comments, redirections, pipes, substitutions.

use std::iter::Peekable;
use std::str::Chars;

/// A word of a command; where a shell substitutes, that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Substituted,
}

impl Word {
    /// The word with `stand_in` for what is substituted.
    pub fn with(&self, stand_in: &str) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Substituted => stand_in,
        });
        pieces.collect()
    }

    fn is_number(&self) -> bool {
        self.with("").chars().all(|digit| digit.is_ascii_digit())
    }

    fn push(&mut self, letter: char) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.push(letter),
            _ => self.0.push(Piece::Text(letter.to_string())),
        }
    }
}

/// The arguments of each call of `program` in a script, those in substitutions too. A call may stand behind settings of the
/// environment and behind `sudo` with its options.
pub fn commands_of(program: &str, script: &str) -> Vec<Vec<Word>> {
    let mut reader = Reader::new(script);
    reader.read();
    let mut found: Vec<Vec<Word>> =
        reader.commands.iter().filter_map(|command| arguments_of(program, command)).collect();
    for inner in reader.inner {
        found.extend(commands_of(program, &inner));
    }
    found
}

fn arguments_of(program: &str, command: &[Word]) -> Option<Vec<Word>> {
    let text = |word: &Word| word.with("");
    let place = command.iter().position(|word| {
        let word = text(word);
        word == program || word.strip_suffix(program).is_some_and(|folder| folder.ends_with('/'))
    })?;
    let (before, call) = command.split_at(place);
    let before: Vec<String> = before.iter().map(text).filter(|word| !word.contains('=')).collect();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let behind = call.get(1..)?;
    match before.as_slice() {
        // `sudo -u latchkey latchkey …`: the first is the user.
        ["sudo", .., "-u"] => arguments_of(program, behind),
        ["sudo", options @ ..] if options.iter().all(|option| option.starts_with('-')) => {
            Some(behind.to_vec())
        }
        [] | ["do" | "then" | "exec"] => Some(behind.to_vec()),
        _ => None,
    }
}

struct Reader<'s> {
    letters: Peekable<Chars<'s>>,
    /// What is being read.
    word: Option<Word>,
    command: Vec<Word>,
    /// The next word is where something is redirected to.
    redirects: bool,
    /// What has been read.
    commands: Vec<Vec<Word>>,
    /// The scripts of substitutions.
    inner: Vec<String>,
}

impl<'s> Reader<'s> {
    fn new(script: &'s str) -> Self {
        Self {
            letters: script.chars().peekable(),
            word: None,
            command: Vec::new(),
            redirects: false,
            commands: Vec::new(),
            inner: Vec::new(),
        }
    }

    fn read(&mut self) {
        while let Some(letter) = self.letters.next() {
            match letter {
                '#' if self.word.is_none() => self.skip_while(|letter| letter != '\n'),
                '\\' => match self.letters.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '\'' => self.read_single_quoted(),
                '"' => self.read_double_quoted(),
                '$' => self.read_substitution(),
                '>' | '<' => {
                    // A number of what is redirected is no word of the command.
                    if self.word.as_ref().is_some_and(Word::is_number) {
                        self.word = None;
                    }
                    self.end_word();
                    self.skip_while(|letter| matches!(letter, '>' | '&'));
                    self.redirects = true;
                }
                ' ' | '\t' => self.end_word(),
                '\n' | ';' | '|' | '&' => self.end_command(),
                _ => self.push(letter),
            }
        }
        self.end_command();
    }

    fn push(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.redirects)
        {
            self.command.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirects = false;
        self.commands.push(std::mem::take(&mut self.command));
    }

    fn skip_while(&mut self, skipped: impl Fn(char) -> bool) {
        while self.letters.next_if(|letter| skipped(*letter)).is_some() {}
    }

    fn read_single_quoted(&mut self) {
        // Also an empty one is a word.
        self.word.get_or_insert_default();
        while let Some(letter) = self.letters.next_if(|letter| *letter != '\'') {
            self.push(letter);
        }
        self.letters.next();
    }

    fn read_double_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(letter) = self.letters.next() {
            match letter {
                '"' => return,
                '\\' => {
                    let escaped = self.letters.next().unwrap_or('\\');
                    self.push(escaped);
                }
                '$' => self.read_substitution(),
                _ => self.push(letter),
            }
        }
    }

    /// `$(…)`, `${…}` and `$NAME`.
    fn read_substitution(&mut self) {
        if self.letters.next_if_eq(&'(').is_some() {
            let script = self.read_to_closing();
            self.inner.push(script);
        } else if self.letters.next_if_eq(&'{').is_some() {
            self.skip_while(|letter| letter != '}');
            self.letters.next();
        } else {
            self.skip_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        }
        self.word.get_or_insert_default().0.push(Piece::Substituted);
    }

    /// To the parenthesis that closes; those within single quotes count for nothing.
    fn read_to_closing(&mut self) -> String {
        let mut script = String::new();
        let (mut depth, mut quoted) = (1, false);
        for letter in self.letters.by_ref() {
            match letter {
                '\'' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return script;
            }
            script.push(letter);
        }
        panic!("a substitution has no end: {script}");
    }
}

#[test]
fn calls_are_found_with_their_words() {
    for (script, calls) in [
        ("latchkey serve --config f # and a comment\n", &["serve --config f"][..]),
        ("A=b latchkey key test < my.key | sed 's/a b/c/'; echo latchkey", &["key test"]),
        ("sudo -u latchkey latchkey check \\\n  --probe 2>&1 >> log", &["check --probe"]),
        (
            "sudo latchkey init /etc/latchkey --yes && ./latchkey --version",
            &["init /etc/latchkey --yes", "--version"],
        ),
        ("sudo systemctl enable --now latchkey; sudo chown root /etc/latchkey", &[]),
        ("systemctl restart latchkey\njournalctl -u latchkey | grep latchkey", &[]),
        ("for n in 1 2; do latchkey key show $n; done", &["key show ?"]),
        (
            "latchkey key delete \"$(latchkey key test --json < a | sed 's/(\"/\\1/')\" --yes",
            &["key delete ? --yes", "key test --json"],
        ),
        ("latchkey allow add 'a b' \"c d\" \"\"", &["allow add a b c d "]),
    ] {
        let found: Vec<String> = commands_of("latchkey", script)
            .iter()
            .map(|call| call.iter().map(|word| word.with("?")).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(found, calls, "{script}");
    }
}
