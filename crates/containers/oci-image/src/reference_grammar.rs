//! Docker's grammar of references: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! The expression of crate `oci-spec` takes tens of milliseconds to compile, which each start of a pod waited for; it is
//! what the tests compare with.

const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_BEFORE: &str = "index.docker.io";
const OFFICIAL: &str = "library/";

/// The parts of a reference, with the defaults of Docker's registry and repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    pub registry: &'a str,
    pub repository: String,
    pub tag: Option<&'a str>,
    /// Not parsed.
    pub digest: Option<&'a str>,
}

/// Splits a reference, or returns what is wrong with it.
pub fn parts(text: &str) -> Result<Parts<'_>, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash precedes a port.
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.get(last..).and_then(|last| last.split_once(':')) {
        Some((component, tag)) => (rest.get(..last + component.len()).unwrap_or_default(), Some(tag)),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("invalid tag");
    }
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, name),
    };
    if !is_registry(registry) {
        return Err("invalid registry");
    }
    if path.is_empty() {
        return Err("empty repository");
    }
    if !path.split('/').all(is_component) {
        return Err("invalid repository");
    }
    let registry = if registry == DOCKER_HUB_BEFORE { DOCKER_HUB } else { registry };
    let is_official = registry == DOCKER_HUB && !path.contains('/');
    let repository = if is_official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if repository.len() > MAX_REPOSITORY {
        return Err("a repository has at most 255 characters");
    }
    Ok(Parts { registry, repository, tag, digest })
}

/// A letter, digit or underscore, then also dots and dashes.
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = text.bytes().next().is_some_and(is_word);
    starts && text.len() <= MAX_TAG && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Labels of a domain, and a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Lower-case letters and digits, separated by a dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |run: &[u8]| match run {
        b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    };
    let bytes = text.as_bytes();
    let bounded = bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter);
    bounded
        && bytes
            .chunk_by(|one, other| is_letter(one) == is_letter(other))
            .all(|run| run.first().is_some_and(is_letter) || is_separator(run))
}

#[cfg(test)]
mod tests {
    use oci_spec::distribution::Reference;
    use proptest::prelude::*;

    use super::*;

    /// What the crate accepts and Docker does not: upper-case letters in a repository, underscores in a host's name,
    /// letters of other scripts in a tag.
    fn is_strange(reference: &Reference) -> bool {
        reference.repository().bytes().any(|byte| byte.is_ascii_uppercase())
            || reference.registry().contains('_')
            || !reference.tag().unwrap_or_default().is_ascii()
    }

    fn compare(text: &str) {
        let expected = text.parse::<Reference>();
        // Digests are parsed elsewhere.
        match (parts(text), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.registry, expected.registry(), "{text}");
                assert_eq!(found.repository, expected.repository(), "{text}");
                let tag = if found.digest.is_none() { found.tag.or(Some("latest")) } else { found.tag };
                assert_eq!((tag, found.digest), (expected.tag(), expected.digest()), "{text}");
            }
            (Ok(found), Err(_)) => assert!(found.digest.is_some(), "{text}: {found:?}"),
            (Err(reason), Ok(expected)) => assert!(is_strange(&expected), "{text}: {reason}"),
            (Err(_), Err(_)) => (),
        }
    }

    #[test]
    fn separators_and_bounds() {
        for text in
            ["a", "a.b", "a_b", "a__b", "a---b", "a-.b", "a..b", "a___b", "a_-b", "-a", "a-", ".a", "a."]
        {
            compare(text);
            compare(&format!("h.x/{text}:1"));
            compare(&format!("{text}.x:5/c"));
            compare(&format!("a:{text}"));
        }
        compare(&format!("a:{}", "t".repeat(128)));
        compare(&format!("a:{}", "t".repeat(129)));
        compare(&"a".repeat(247));
        compare(&"a".repeat(248));
    }

    proptest! {
        #[test]
        fn as_the_crate_for_names(text in "[a-cA-B0-1._:/@-]{0,14}") {
            compare(&text);
        }

        #[test]
        fn as_the_crate_for_parts(
            host in "(([a-bA0.-]{1,4}|localhost|docker\\.io|index\\.docker\\.io)(:[0-9a]{0,3})?/)?",
            path in "[a-b0]{1,2}([._/-]{0,3}[a-b0]{1,2}){0,3}",
            tag in "(:[aA0_.-]{0,4})?",
        ) {
            compare(&format!("{host}{path}{tag}"));
        }

        #[test]
        fn as_the_crate_for_any_text(text in "\\PC{0,20}") {
            compare(&text);
        }
    }
}
