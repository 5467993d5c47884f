//! Builds the documentation with `mdbook build`, and checks links and images of the rendered pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, show, target_folder};

/// Installed with cargo into the target folder: no supported distribution packages it.
const VERSION: &str = "0.5.4";
/// Path below the tools' folder.
const PROGRAM: &str = "bin/mdbook";
/// Output folder, below the target folder.
const RENDERED: &str = "book";

/// Renders the book into the target folder; false if that fails or a link is broken.
pub fn check(root: &Path) -> Result<bool> {
    let target = target_folder(root);
    let tools = target.join("tools");
    if !is_installed(&tools) {
        let version = format!("={VERSION}");
        let arguments =
            ["install", "mdbook", "--version", &version, "--locked", "--no-default-features", "--debug"];
        let mut install = cargo(root, &arguments);
        if !show(install.arg("--root").arg(&tools))?.success {
            return Ok(false);
        }
    }
    let folder = target.join(RENDERED);
    let mut build = Command::new(tools.join(PROGRAM));
    if !show(build.current_dir(root).args(["build", "docs", "--dest-dir"]).arg(&folder))?.success {
        return Ok(false);
    }
    let broken = broken_links(&folder)?;
    for link in &broken {
        eprintln!("{link} leads nowhere");
    }
    Ok(broken.is_empty())
}

/// Cargo lists installed packages below the root folder.
fn is_installed(tools: &Path) -> bool {
    let listed = fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
    listed.contains(&format!("\"mdbook {VERSION} ")) && tools.join(PROGRAM).exists()
}

/// `FILE: LINK` of each link to a missing page or anchor below `folder`.
fn broken_links(folder: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    collect(folder, folder, &mut pages)?;
    let anchors: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path, attributes(text, "id").collect())).collect();
    let mut broken = Vec::new();
    for (path, text) in &pages {
        let links = ["href", "src"].into_iter().flat_map(|name| attributes(text, name));
        for link in links.filter(|link| !link.contains(':')) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { joined(path, file) };
            let exists = match anchors.get(&target) {
                Some(ids) => anchor.is_empty() || ids.contains(anchor),
                None => folder.join(&target).is_file(),
            };
            if !exists {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    Ok(broken)
}

/// HTML files below `folder`, by path relative to `root`, except the print page and the error page with its
/// absolute links.
fn collect(root: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
        if path.is_dir() {
            collect(root, &path, pages)?;
        } else if path.extension().is_some_and(|end| end == "html")
            && !matches!(name.to_str(), Some("print.html" | "404.html"))
        {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            pages.insert(name, text);
        }
    }
    Ok(())
}

/// The values of an attribute in double quotes, as mdBook writes it.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    let length = begin.len();
    let found: Vec<usize> = html.match_indices(&begin).map(|(at, _)| at + length).collect();
    found.into_iter().filter_map(move |at| html.get(at..)?.split('"').next())
}

/// Resolves `link` relative to `page`, without `..`.
fn joined(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_missing_pages_and_anchors_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("style.css", "");
        write(
            "a.html",
            "<link href=\"style.css\"><a href=\"how-to/b.html#two\"><a href=\"https://x/y\"><a href=\"#one\"><h1 id=\"one\">",
        );
        write(
            "how-to/b.html",
            "<h1 id=\"two\"><a href=\"../a.html#one\"><a href=\"../a.html#two\"><a href=\"c.html\"><img src=\"d.png\">",
        );
        write("print.html", "<a href=\"nowhere.html\">");
        let broken = broken_links(folder.path()).unwrap();
        assert_eq!(broken, ["how-to/b.html: ../a.html#two", "how-to/b.html: c.html", "how-to/b.html: d.png"]);
    }
}
