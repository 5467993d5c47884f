//! Types, functions, fields and modules have names of the field, not words that read as translated.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{
    Field, Ident, ImplItemFn, ItemConst, ItemEnum, ItemFn, ItemMod, ItemStruct, ItemTrait, ItemType,
    TraitItemFn, Variant,
};

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// Words that names must not contain, and their usual replacement.
const WORDS: [(&str, &str); 20] = [
    ("anybody", "what is meant, as in `no_verify`"),
    ("asked", "request, spec"),
    ("brain", "state"),
    ("doors", "ports"),
    ("hands", "I/O, environment"),
    ("heard", "received, observed"),
    ("hears", "receives"),
    ("keeper", "supervisor"),
    ("nobody", "none, or what is missing"),
    ("said", "message, report"),
    ("says", "message, report"),
    ("somebody", "user, client"),
    ("stranger", "unknown member, foreign file"),
    ("strangers", "unknown members, foreign files"),
    ("tell", "notify, report"),
    ("tells", "notifies, reports"),
    ("told", "notified, reported"),
    ("warden", "supervisor"),
    ("wish", "spec"),
    ("wishes", "options"),
];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let text = workspace.read(file)?;
        let lower = text.to_lowercase();
        // Parsing takes most of the time, and few files have any of the words.
        if !WORDS.iter().any(|(word, _)| lower.contains(word)) {
            continue;
        }
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let mut names = Names::default();
        names.visit_file(&parsed);
        for name in names.0.iter().map(Ident::to_string).collect::<BTreeSet<_>>() {
            for (word, term) in refused(&name) {
                let location = format!("{}:{}", file.display(), line_of(&text, &name));
                findings.push(Finding::new(location, format!("`{name}`: instead of `{word}`: {term}")));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// The first line with `name` as a whole word. proc-macro2 gives identifiers line numbers only with a feature that
/// would recompile the workspace.
fn line_of(text: &str, name: &str) -> usize {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let has = |line: &str| line.split(|char| !is_part(char)).any(|word| word == name);
    text.lines().position(has).map_or(0, |index| index + 1)
}

/// The forbidden words in `name`, in either case.
fn refused(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let words = words(name);
    WORDS.into_iter().filter(move |(word, _)| words.iter().any(|one| one == word))
}

/// Splits `StoreLink` and `store_link` into `store` and `link`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_'
            && let Some(last) = words.last_mut()
        {
            last.extend(letter.to_lowercase());
        }
    }
    words
}

/// The names that a file declares.
#[derive(Default)]
struct Names(Vec<Ident>);

macro_rules! collect {
    ($($method:ident $node:ident),* $(,)?) => {
        $(fn $method(&mut self, node: &'ast $node) {
            self.0.push(node.ident.clone());
            visit::$method(self, node);
        })*
    };
}

impl<'ast> Visit<'ast> for Names {
    collect! {
        visit_item_const ItemConst,
        visit_item_enum ItemEnum,
        visit_item_mod ItemMod,
        visit_item_struct ItemStruct,
        visit_item_trait ItemTrait,
        visit_item_type ItemType,
        visit_variant Variant,
    }

    fn visit_field(&mut self, node: &'ast Field) {
        self.0.extend(node.ident.clone());
        visit::visit_field(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast ItemFn) {
        // Names of tests are sentences.
        if !node
            .attrs
            .iter()
            .any(|attribute| attribute.path().segments.iter().any(|part| part.ident == "test"))
        {
            self.0.push(node.sig.ident.clone());
        }
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast ImplItemFn) {
        self.0.push(node.sig.ident.clone());
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast TraitItemFn) {
        self.0.push(node.sig.ident.clone());
        visit::visit_trait_item_fn(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn declared_names_are_checked_word_by_word() {
        let made = with_files(&[(
            "a.rs",
            "#[test]\nfn what_is_said() {}\nstruct RealHands { told_at: u64 }\nmod doors {}\nimpl RealHandshake {\n    fn tell(&self) {}\n}\n",
        )]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let places: Vec<_> = findings.iter().map(|finding| finding.location.as_str()).collect();
        assert_eq!(places, ["a.rs:3", "a.rs:4", "a.rs:6", "a.rs:3"]);
    }
}
