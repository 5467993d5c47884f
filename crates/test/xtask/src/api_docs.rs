//! `cargo xtask doc`: the API documentation of all packages. Its front page is [`FRONT`], whose crates are links.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, show, target_folder};
use crate::workspace::Workspace;

/// The code map, at the root of the checkout.
const FRONT: &str = "ARCHITECTURE.md";

/// Builds it below cargo's target folder; false if rustdoc warns.
pub fn build(workspace: &Workspace) -> Result<bool> {
    let root = &workspace.root;
    let mut packages = cargo(root, &["doc", "--locked", "--workspace", "--no-deps", "--keep-going"]);
    if !show(packages.env("RUSTDOCFLAGS", "-D warnings"))?.success {
        return Ok(false);
    }
    let folder = target_folder(root).join("doc");
    let text = fs::read_to_string(root.join(FRONT)).with_context(|| format!("cannot read {FRONT}"))?;
    // rustdoc names the page after the file.
    let source = folder.join("index.md");
    fs::write(&source, with_links(&text, workspace, &folder)).context("cannot write the front page")?;
    let rendered = show(Command::new("rustdoc").arg(&source).arg("-o").arg(&folder))?.success;
    fs::remove_file(&source).context("cannot remove the front page's source")?;
    if rendered {
        eprintln!("the front page: {}", folder.join("index.html").display());
    }
    Ok(rendered)
}

/// Links the first cell of each table row that names a documented package.
fn with_links(text: &str, workspace: &Workspace, folder: &Path) -> String {
    let link = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        let page = format!("{}/index.html", name.replace('-', "_"));
        let documented = workspace.has_package(name) && folder.join(&page).exists();
        documented.then(|| format!("| [`{name}`]({page}){rest}"))
    };
    let lines: Vec<String> = text.lines().map(|line| link(line).unwrap_or_else(|| line.to_owned())).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_crate;

    #[test]
    fn documented_packages_are_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("unit_file")).unwrap();
        fs::write(folder.path().join("unit_file/index.html"), "").unwrap();
        let made = with_crate("unit-file", serde_json::json!(0), &[]);
        let text = "# Crates\n| `unit-file` | 1 |\n| `etcd` | 4 |\nof `unit-file`";
        let expected =
            "# Crates\n| [`unit-file`](unit_file/index.html) | 1 |\n| `etcd` | 4 |\nof `unit-file`";
        assert_eq!(with_links(text, &made.workspace, folder.path()), expected);
    }
}
