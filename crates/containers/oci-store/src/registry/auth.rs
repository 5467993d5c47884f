//! Tokens, and who gets the password.

use oci_image::Reference;
use oci_image::challenge::Challenge;
use serde::Deserialize;

use super::RegistryError;
use super::client::Client;
use super::url::{Url, host};

const MAX_RESPONSE: u64 = 256 << 10;
const MAX_TOKEN: usize = 64 << 10;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// The value of `Authorization` that a challenge requires.
    pub(super) fn authorize(&self, url: &Url, challenges: &[Challenge]) -> Result<String, RegistryError> {
        let login = self.options.credentials.login(self.reference.registry());
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        match (bearer.or(challenges.first()), login) {
            (Some(Challenge::Bearer { realm, service, .. }), _) => self.token(realm, service.as_deref()),
            (Some(Challenge::Basic), Some(login)) => Ok(login.basic()),
            (Some(Challenge::Basic), None) => Err(RegistryError::Unauthorized { url: url.redacted() }),
            (None, _) => Err(RegistryError::Challenge { url: url.redacted() }),
        }
    }

    /// Requests a token to pull this repository; what the registry names as scope is not used.
    fn token(&self, realm: &str, service: Option<&str>) -> Result<String, RegistryError> {
        let refused = |realm: String, reason| {
            Err(RegistryError::Realm { registry: self.base.authority.clone(), realm, reason })
        };
        let Some(url) = Url::parse(realm) else {
            return refused("without a valid URL".to_owned(), "is refused");
        };
        if !url.secure && (self.base.secure || !self.options.http) {
            return refused(url.redacted(), "uses plain HTTP, which was not permitted");
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &format!("repository:{}:pull", self.reference.repository()));
        let separator = if url.path.contains('?') { '&' } else { '?' };
        let url = url.with_path(&format!("{}{separator}{}", url.path, query.finish()));
        // Without the password, the token is an anonymous one.
        let login = self.options.credentials.login(self.reference.registry());
        let login = login.filter(|_| may_know_password(&self.reference, &self.base, &url));
        let response = self.follow(&url, &[], login.map(oci_image::credentials::Login::basic))?.1;
        if matches!(response.status().as_u16(), 401 | 403) {
            return Err(RegistryError::Unauthorized { url: url.redacted() });
        }
        let bytes = self.read_body(&url, response, MAX_RESPONSE)?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token =
            token.and_then(|token| token.token.filter(|token| !token.is_empty()).or(token.access_token));
        match token {
            Some(token) if is_token(&token) => Ok(format!("Bearer {token}")),
            _ => Err(RegistryError::Token(url.redacted())),
        }
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The password of a registry is for its own host, and over HTTPS for a host below or above it: `auth.docker.io` of
/// `docker.io`, `gitlab.com` of `registry.gitlab.com`. A registry cannot direct it elsewhere.
fn may_know_password(reference: &Reference, base: &Url, realm: &Url) -> bool {
    if base.is_same_origin(realm) {
        return true;
    }
    let (registry, server) = (host(reference.registry()).to_ascii_lowercase(), realm.host());
    let is_below = |name: &str, domain: &str| {
        domain.contains('.')
            && name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_address = server.parse::<std::net::IpAddr>().is_ok() || server.starts_with('[');
    realm.secure && !is_address && (is_below(server, &registry) || is_below(&registry, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stay_in_the_registrys_domain() {
        let check = |image: &str, realm: &str, expected: bool| {
            let reference: Reference = image.parse().unwrap();
            let base = Url::parse(&format!("https://{}/v2/", reference.api_host())).unwrap();
            let found = may_know_password(&reference, &base, &Url::parse(realm).unwrap());
            assert_eq!(found, expected, "{image} {realm}");
        };
        check("busybox", "https://auth.docker.io/token", true);
        check("quay.io/a", "https://quay.io/v2/auth", true);
        check("registry.gitlab.com/a", "https://gitlab.com/jwt/auth", true);
        check("localhost:5000/a", "https://localhost:5000/token", true);
        check("localhost:5000/a", "https://localhost:5001/token", false);
        check("busybox", "https://auth.docker.io.evil.example/token", false);
        check("busybox", "https://evildocker.io/token", false);
        check("busybox", "http://auth.docker.io/token", false);
        check("quay.io/a", "https://evil.example/token", false);
        check("a.example.com/a", "https://b.example.com/token", false);
        check("registry.com/a", "https://com/token", false);
        check("10.0.0.1:5000/a", "https://10.0.0.1:5001/token", false);
    }
}
