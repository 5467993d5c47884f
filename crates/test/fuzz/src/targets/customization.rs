//! The archive of a customized image, which others may have written.

use std::collections::BTreeMap;

use image::fuzz;

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "customization",
    about: "the archive of a customized image lists files that it has, or is an error; what was put in is what is listed",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    if let Ok(files) = fuzz::read_customization(bytes) {
        let total: u64 = files.iter().map(|file| file.bytes).sum();
        assert!(total <= bytes.len() as u64, "{files:?}");
    }
    let files = files(bytes);
    let archive = fuzz::write_customization(&files).unwrap();
    let read = fuzz::read_customization(&archive).unwrap();
    let listed: BTreeMap<_, _> = read.iter().map(|file| (&*file.path, file.bytes)).collect();
    let expected: BTreeMap<_, _> =
        files.iter().map(|(path, (_, content))| (&**path, content.len() as u64)).collect();
    assert_eq!(listed, expected);
    // Damage is an error, or the files of an undamaged part.
    for end in [archive.len() / 2, archive.len().saturating_sub(1)] {
        if let Ok(rest) = fuzz::read_customization(&archive[..end]) {
            assert!(rest.len() <= read.len());
        }
    }
}

/// Paths and contents of any length.
fn files(bytes: &[u8]) -> fuzz::Files {
    let mut input = Input::new(bytes);
    let mut files = BTreeMap::new();
    while !input.is_empty() && files.len() < 16 {
        let number = files.len();
        let (path, content) = (usize::from(input.byte()), usize::from(input.byte()));
        let name: String = input.bytes(path % 32).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        files.insert(format!("{number}/{name}x"), (0o644, input.bytes(content).to_vec()));
    }
    files
}

fn seeds() -> Vec<Vec<u8>> {
    let contents = b"\x05\x08user-datahostname\x03\x01abc1".to_vec();
    let archive = fuzz::write_customization(&files(&contents)).unwrap();
    vec![contents, archive, vec![0; 512]]
}
