//! The kernel of a tree: the folder of its modules, and the module index.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::tool::{ToolError, command, run};
use crate::tree::{PathContext, TreeError};

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("cannot find the kernel")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("the packages contain {0} kernels, expected one")]
    Kernels(usize),
}

/// The only `usr/lib/modules/VERSION`.
pub fn kernel_folder(tree: &Path) -> Result<PathBuf, KernelError> {
    let modules = tree.join("usr/lib/modules");
    let mut found = Vec::new();
    for entry in fs::read_dir(&modules).at(&modules)? {
        found.push(entry.at(&modules)?.path());
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([kernel]) => Ok(kernel),
        Err(found) => Err(KernelError::Kernels(found.len())),
    }
}

/// The kernel of [`kernel_folder`].
pub fn kernel_file(tree: &Path) -> Result<PathBuf, KernelError> {
    Ok(kernel_folder(tree)?.join("vmlinuz"))
}

/// Runs depmod for the unpacked kernel.
pub fn index_modules(tree: &Path, tools: &Sandbox) -> Result<(), KernelError> {
    let kernel = kernel_folder(tree)?;
    let version = kernel.file_name().unwrap_or_default().to_os_string();
    let mut depmod = command(tools, "depmod")?;
    run(depmod.arg("-b").arg(tree.join("usr")).arg(version))?;
    Ok(())
}
