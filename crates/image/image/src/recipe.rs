//! The source code that creates a result, as an input of its cache key.
//!
//! A change of the code must invalidate the results that it created.

/// The sources of modules of this crate.
macro_rules! sources {
    ($($module:literal)*) => { concat!($(include_str!(concat!($module, ".rs"))),*) };
}

/// Trees of packages.
pub const UNPACKING: &str =
    sources!("unpack" "unpack/status" "../../../base/beneath/src/lib" "kernel" "tree");
pub const COMPOSING: &str = sources!("system" "crates" "etc_files" "kernel" "sbom" "sbom/components" "sbom/cyclonedx" "sbom/spdx" "docker_archive" "release" "strip" "tree");
/// The archive of the tools for `toolbox`.
pub const TOOLBOX: &str = sources!("toolbox" "docker_archive" "etc_files" "tree" "unpack" "unpack/status");
pub const INITRD: &str = sources!("initrd" "kernel" "tree");
/// `/usr` with its hash tree, and the disk.
pub const DISK: &str = sources!("disk" "boot_image" "enrolment" "kernel" "release" "tree");

#[cfg(test)]
mod tests {
    use super::*;

    /// Their effect is part of a key by value (packages, programs), or they do not affect results.
    const EXCLUDED: [&str; 4] = ["fetch", "lock", "programs", "tool"];

    #[test]
    fn a_recipe_contains_the_source_of_every_used_module() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for recipe in [UNPACKING, COMPOSING, TOOLBOX, INITRD, DISK] {
            let title = recipe.lines().next().unwrap();
            let code = recipe.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
            let modules: std::collections::BTreeSet<String> = code
                .flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
                .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
                .collect();
            assert!(!modules.is_empty(), "{title}: no module is named");
            for module in modules.iter().filter(|name| !EXCLUDED.contains(&name.as_str())) {
                let source = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
                assert!(recipe.contains(&source), "{title}: {module}.rs is used and not in the recipe");
            }
        }
    }
}
