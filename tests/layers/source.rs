//! The source as these tests see it: every file with its module, and every name that its production code uses.
//!
//! Items under `#[cfg(test)]` are left out: a test may stand beside what it tests and still look further.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A name as path segments: `["crate", "auth", "Permit"]`, `["std", "io", "stdout"]`.
pub type Name = Vec<String>;

/// One file of `src/`.
pub struct Module {
    /// Where it is, from the package's folder.
    pub file: PathBuf,
    /// `["gateway", "http", "target"]`; empty for `lib.rs` and `main.rs`.
    pub path: Name,
    /// Paths of the production code, those that lead into this package starting at `crate`.
    pub names: BTreeSet<Name>,
    /// Names of the macros that the production code calls.
    pub macros: BTreeSet<String>,
}

impl Module {
    /// The layer that the file belongs to: its first folder or its name.
    pub fn layer(&self) -> Option<&str> {
        self.path.first().map(String::as_str)
    }

    /// Does the file belong to the module written as `gateway::http`?
    pub fn is_within(&self, module: &str) -> bool {
        let wanted: Name = module.split("::").map(str::to_owned).collect();
        self.path.starts_with(&wanted)
    }

    /// Modules of this package that the file names, without the leading `crate`.
    pub fn inner_names(&self) -> impl Iterator<Item = &[String]> {
        self.names.iter().filter(|name| name[0] == "crate").map(|name| &name[1..])
    }
}

/// The package's folder.
pub fn package_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with `extension` in `folder` and below, sorted.
pub fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every file of `src/`, parsed.
pub fn load_modules() -> Vec<Module> {
    let source = package_folder().join("src");
    files_below(&source, "rs").iter().map(|file| load_module(&source, file)).collect()
}

fn load_module(source: &Path, file: &Path) -> Module {
    let text = fs::read_to_string(file).unwrap();
    let path = module_path(file.strip_prefix(source).unwrap());
    let (names, macros) =
        names_of(&text, &path).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Module { file: file.strip_prefix(package_folder()).unwrap().to_owned(), path, names, macros }
}

/// `gateway/http/target.rs` is the module `gateway::http::target`.
fn module_path(file: &Path) -> Name {
    let mut path: Name =
        file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if path == ["lib"] || path == ["main"] {
        path.clear();
    }
    path
}

/// Paths and macros that the production code of `text`, the module at `path`, uses.
pub fn names_of(text: &str, path: &[String]) -> syn::Result<(BTreeSet<Name>, BTreeSet<String>)> {
    let mut collector = Collector { module: path.to_vec(), ..Collector::default() };
    collector.visit_file(&syn::parse_file(text)?);
    Ok((collector.names, collector.macros))
}

#[derive(Default)]
struct Collector {
    /// Where the collector is, inline modules included.
    module: Name,
    names: BTreeSet<Name>,
    macros: BTreeSet<String>,
}

impl Collector {
    /// Notes a path, with `super` and `self` at its front resolved.
    fn note(&mut self, segments: &[String]) {
        let mut within = self.module.clone();
        let mut rest = segments;
        let mut inner = false;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "super" => {
                    within.pop();
                }
                "self" => {}
                "crate" => within.clear(),
                _ => break,
            }
            inner = true;
            rest = others;
        }
        let mut name = Vec::new();
        if inner {
            name.push("crate".to_owned());
            name.extend(within);
        }
        name.extend_from_slice(rest);
        if !name.is_empty() {
            self.names.insert(name);
        }
    }

    fn note_use(&mut self, tree: &syn::UseTree, front: &[String]) {
        let joined = |part: String| [front, &[part]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&path.tree, &joined(path.ident.to_string())),
            syn::UseTree::Name(name) => self.note(&joined(name.ident.to_string())),
            syn::UseTree::Rename(rename) => self.note(&joined(rename.ident.to_string())),
            syn::UseTree::Glob(_) => self.note(front),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.note_use(item, front)),
        }
    }

    /// What a macro is given is no syntax tree; its tokens stand apart by blanks: `crate :: auth :: Permit`.
    fn note_tokens(&mut self, tokens: &str) {
        let tokens: Vec<&str> = tokens.split_whitespace().collect();
        let mut path: Name = Vec::new();
        for (position, token) in tokens.iter().enumerate() {
            let bare = token.trim_matches(['(', ')', '[', ']', '{', '}', ',', ';', '&', '?', '.']);
            let is_word = !bare.is_empty() && bare.chars().all(|c| c.is_alphanumeric() || c == '_');
            if is_word {
                if position == 0 || tokens[position - 1] != "::" {
                    path.clear();
                }
                path.push(bare.to_owned());
                if tokens.get(position + 1) != Some(&"::") {
                    if tokens.get(position + 1).is_some_and(|next| next.starts_with('!')) {
                        self.macros.insert(bare.to_owned());
                    }
                    self.note(&path.clone());
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last() {
            self.macros.insert(name.ident.to_string());
        }
        self.note_tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}
