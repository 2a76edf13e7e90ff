//! As much of Markdown as the pages of this package use: fenced blocks, tables, inline code, links, headings.

/// A fenced block.
pub struct Block {
    /// The word behind the fence; empty where there is none.
    pub language: String,
    /// What stands in it, without the indentation of its fence.
    pub text: String,
    /// The line of its fence, counted from 1.
    pub line: usize,
}

/// All fenced blocks.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        let inner = line.trim_start();
        match (&mut open, inner.strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.trim().to_owned();
                open =
                    Some((line.len() - inner.len(), Block { language, text: String::new(), line: number }));
            }
            (Some(_), Some("")) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indentation, block)), _) => {
                block.text.push_str(line.get(*indentation..).unwrap_or(inner));
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// The lines that stand in no fenced block, with their numbers.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            lines.push((number, line));
        }
    }
    lines
}

/// The first cell of each row of each table but its head, with its line.
pub fn first_cells(page: &str) -> Vec<(usize, String)> {
    let lines = prose(page);
    let is_rule = |line: &str| line.starts_with("|--");
    let heads: Vec<usize> = lines
        .iter()
        .zip(lines.iter().skip(1))
        .filter(|(_, (_, next))| is_rule(next))
        .map(|((number, _), _)| *number)
        .collect();
    let rows = lines
        .iter()
        .filter(|(number, line)| line.starts_with("| ") && !is_rule(line) && !heads.contains(number));
    rows.filter_map(|(number, row)| {
        let cell = row.trim_start_matches("| ").split(" | ").next()?;
        Some((*number, cell.to_owned()))
    })
    .collect()
}

/// What stands between backticks, one or more, without the blanks that guard backticks of its own.
pub fn inline_code(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let (_, opened) = rest.split_at(start);
        let inner = opened.trim_start_matches('`');
        let (fence, _) = opened.split_at(opened.len() - inner.len());
        let Some(end) = end_of_code(inner, fence.len()) else { break };
        let (code, behind) = inner.split_at(end);
        found.push(code.trim().to_owned());
        rest = behind.trim_start_matches('`');
    }
    found
}

/// Where the next run of exactly so many backticks begins.
fn end_of_code(text: &str, backticks: usize) -> Option<usize> {
    let mut run = 0;
    let letters = text.bytes().chain([b' ']).enumerate();
    for (place, letter) in letters {
        match letter {
            b'`' => run += 1,
            _ if run == backticks => return Some(place - run),
            _ => run = 0,
        }
    }
    None
}

/// The targets of all links and pictures, with their lines.
pub fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(page) {
        let parts = line.split("](").skip(1);
        found.extend(parts.filter_map(|part| Some((number, part.split_once(')')?.0.to_owned()))));
    }
    found
}

/// The names by which links find the headings, as GitHub makes them: small letters, no punctuation, `-` for a blank, and
/// a number behind those that repeat.
pub fn headings(page: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, line) in prose(page) {
        let title = line.trim_start_matches('#');
        let Some(title) = title.strip_prefix(' ').filter(|_| line.starts_with('#')) else { continue };
        let letters = title.trim().chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ if letter.is_alphanumeric() => Some(letter),
            _ => None,
        });
        let name: String = letters.flat_map(char::to_lowercase).collect();
        let before = names.iter().filter(|known| known.trim_end_matches(numbered) == name).count();
        names.push(if before == 0 { name } else { format!("{name}-{before}") });
    }
    names
}

fn numbered(letter: char) -> bool {
    letter == '-' || letter.is_ascii_digit()
}

#[test]
fn blocks_code_links_and_headings_are_found() {
    let page = "# A `b`, c!\n\nSee [x](y.md#z) and ![p](q.png).\n\n1. In a list\n\n   ```sh\n   a | b\n   ```\n\n\
                | seen | why |\n|---|---|\n| ``a `b` c`` or `d` | [no](#way) |\n\n## A\n## A\n```\n[not](this)\n```\n";
    let found = blocks(page);
    let found: Vec<_> =
        found.iter().map(|block| (block.language.as_str(), block.text.as_str(), block.line)).collect();
    assert_eq!(found, [("sh", "a | b\n", 7), ("", "[not](this)\n", 17)]);
    assert_eq!(first_cells(page), [(13, "``a `b` c`` or `d`".to_owned())]);
    assert_eq!(inline_code("``a `b` c`` or `d` and `` `e` ``"), ["a `b` c", "d", "`e`"]);
    assert_eq!(inline_code("no code, `and no end"), Vec::<String>::new());
    let targets: Vec<String> = links(page).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["y.md#z", "q.png", "#way"]);
    assert_eq!(headings(page), ["a-b-c", "a", "a-1"]);
}
