//! What a result is made by: the source of the code that makes it, which counts among its inputs.
//!
//! A change of how something is made must never leave the old result in its place.

/// The sources of modules of this crate.
macro_rules! sources {
    ($($module:literal)*) => { concat!($(include_str!(concat!($module, ".rs"))),*) };
}

/// Trees of packages.
pub const UNPACKING: &str = sources!("unpack" "kernel" "tree");
/// The node's tree.
pub const COMPOSING: &str =
    sources!("system" "crates" "kernel" "sbom" "docker_archive" "release" "strip" "tree");
pub const INITRD: &str = sources!("initrd" "kernel" "tree");
/// `/usr` with its hashes, and the disk.
pub const DISK: &str = sources!("disk" "enrolment" "kernel" "release" "tree");

#[cfg(test)]
mod tests {
    use super::*;

    /// What they do shows in a key by its values (packages, programs), or does not show in a result at all.
    const ELSEWHERE: [&str; 4] = ["fetch", "lock", "programs", "tool"];

    #[test]
    fn a_recipe_holds_the_source_of_every_module_that_it_uses() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for recipe in [UNPACKING, COMPOSING, INITRD, DISK] {
            let title = recipe.lines().next().unwrap();
            let code = recipe.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
            let named: std::collections::BTreeSet<String> = code
                .flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
                .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
                .collect();
            assert!(!named.is_empty(), "{title}: no module is named");
            for module in named.iter().filter(|name| !ELSEWHERE.contains(&name.as_str())) {
                let source = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
                assert!(recipe.contains(&source), "{title}: {module}.rs is used and not in the recipe");
            }
        }
    }
}
