//! The way through a proxy: which one, for which hosts, and with whose name.
//!
//! A proxy carries bytes. TLS is spoken with the platform through it, end to end: the proxy sees a host name and sizes.
//! There is no way to have it verify certificates in our place.
//!
//! | URL | Is |
//! |---|---|
//! | `http://[user:password@]host[:80]` | HTTP CONNECT (RFC 9110, section 9.3.6), Basic authentication |
//! | `socks5://[user:password@]host[:1080]` | SOCKS 5 (RFC 1928, 1929); the platform's name is resolved here |
//! | `socks5h://…` | the same; the proxy resolves the name |
//! | `none` | no proxy, whatever the environment says |
//!
//! Without a flag the environment decides, as it does for other programs: `HTTPS_PROXY`, else `ALL_PROXY`, except for
//! the hosts of `NO_PROXY` and this machine; each in capitals or small letters.

mod exceptions;
mod tunnel;

use std::fmt;
use std::sync::Arc;

use tesaiot_contract::Secret;

use exceptions::Exceptions;
pub(super) use tunnel::Goal;
pub use tunnel::ProxyFault;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Socks5 {
        /// The proxy resolves names
        remote_names: bool,
    },
}

/// One proxy. Its password is printed nowhere.
#[derive(Clone, Debug)]
pub struct Proxy {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
    login: Option<(Secret, Secret)>,
}

/// A URL that names no proxy. The URL itself is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Nothing that is known, before `://`.
    #[error("its scheme is not http, socks5 or socks5h")]
    Scheme,
    /// No host, or none that can be one.
    #[error("it names no host and port")]
    Host,
    /// A user without a password, an escape that is none, or a name longer than the protocol can carry.
    #[error("its user and password cannot be read; write special characters as %40")]
    Login,
    /// Something behind the port.
    #[error("it has a path, which a proxy has not")]
    Path,
}

impl Proxy {
    /// Reads a URL.
    ///
    /// # Errors
    /// It names no proxy that can be used.
    pub fn parse(url: &str) -> Result<Self, InvalidProxy> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(InvalidProxy::Scheme)?;
        let (scheme, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "socks5" => (Scheme::Socks5 { remote_names: false }, 1080),
            "socks5h" => (Scheme::Socks5 { remote_names: true }, 1080),
            _ => return Err(InvalidProxy::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(read_login(login)?), address),
            None => (None, rest),
        };
        if address.contains(['/', '?', '#']) {
            return Err(InvalidProxy::Path);
        }
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| InvalidProxy::Host)?),
            _ => (address, usual_port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if port == 0 || !is_host(host) {
            return Err(InvalidProxy::Host);
        }
        Ok(Self { scheme, host: host.into(), port, login })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether the proxy is told the platform's name rather than its address.
    pub(super) fn resolves_names(&self) -> bool {
        self.scheme != Scheme::Socks5 { remote_names: false }
    }
}

/// Scheme, host and port; never the login.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Socks5 { remote_names: false } => "socks5",
            Scheme::Socks5 { remote_names: true } => "socks5h",
        };
        let (host, port) = self.address();
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

/// Whether it can be a host: then nothing in it can end a line of a request.
pub(super) fn is_host(host: &str) -> bool {
    rustls::pki_types::ServerName::try_from(host).is_ok()
}

fn read_login(text: &str) -> Result<(Secret, Secret), InvalidProxy> {
    let (user, password) = text.split_once(':').ok_or(InvalidProxy::Login)?;
    let read = |part: &str| -> Result<Secret, InvalidProxy> {
        let text = unescaped(part).ok_or(InvalidProxy::Login)?;
        // RFC 1929 has one byte for the length; a colon in the user name cannot be told from the one behind it.
        let good = text.len() <= 255 && !text.chars().any(char::is_control);
        if good { Ok(Secret::new(text)) } else { Err(InvalidProxy::Login) }
    };
    let login = (read(user)?, read(password)?);
    if login.0.expose().is_empty() || login.0.expose().contains(':') { Err(InvalidProxy::Login) } else { Ok(login) }
}

/// Without the escapes of RFC 3986, section 2.1.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                bytes.push((digit()? * 16 + digit()?) as u8);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Which proxy is used for which host.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    proxy: Option<Arc<Proxy>>,
    /// None when a flag chose: then there are no exceptions
    except: Option<Arc<Exceptions>>,
}

/// A proxy that was named and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} names no proxy: {source}")]
pub struct WrongProxy {
    /// What named it
    pub name: &'static str,
    /// What is wrong
    #[source]
    pub source: InvalidProxy,
}

impl Proxies {
    /// What `flag` says, else the environment; `process` answers for it.
    ///
    /// # Errors
    /// What names a proxy names none.
    pub fn choose(flag: Option<&Secret>, process: impl Fn(&str) -> Option<String>) -> Result<Self, WrongProxy> {
        if let Some(flag) = flag {
            let proxy = match flag.expose().trim() {
                "none" => None,
                url => Some(Proxy::parse(url).map_err(|source| WrongProxy { name: "--proxy", source })?),
            };
            return Ok(Self { proxy: proxy.map(Arc::new), except: None });
        }
        let set = |name: &str| process(name).filter(|value| !value.trim().is_empty());
        let named = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter();
        let Some((name, url)) = named.filter_map(|name| Some((name, set(name)?))).next() else {
            return Ok(Self::default());
        };
        let proxy = Proxy::parse(&url).map_err(|source| WrongProxy { name, source })?;
        let except = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
        Ok(Self { proxy: Some(Arc::new(proxy)), except: Some(Arc::new(Exceptions::parse(&except))) })
    }

    /// The proxy on the way to a host; none for the straight way.
    pub fn on_the_way_to(&self, host: &str) -> Option<Arc<Proxy>> {
        let is_excepted = self.except.as_ref().is_some_and(|except| except.contain(host));
        self.proxy.clone().filter(|_| !is_excepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_their_passwords_are_shown_nowhere() {
        for (url, shown, user) in [
            ("http://proxy.example:3128", "http://proxy.example:3128", None),
            ("HTTP://proxy.example/", "http://proxy.example:80", None),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080", None),
            ("socks5h://pi:s%40c%3Aret@[fd00::1]:1081", "socks5h://[fd00::1]:1081", Some(("pi", "s@c:ret"))),
            ("http://a%40b:p@q@proxy:1", "http://proxy:1", Some(("a@b", "p@q"))),
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.to_string(), shown);
            let login = proxy.login.as_ref().map(|(user, password)| (user.expose(), password.expose()));
            assert_eq!(login, user);
            assert!(!format!("{proxy:?}").contains("ret"), "{proxy:?}");
        }
        for (url, error) in [
            ("proxy.example:3128", InvalidProxy::Scheme),
            ("https://proxy.example", InvalidProxy::Scheme),
            ("http://", InvalidProxy::Host),
            ("http://proxy:0", InvalidProxy::Host),
            ("http://proxy:port", InvalidProxy::Host),
            ("http://two words", InvalidProxy::Host),
            ("http://proxy/path", InvalidProxy::Path),
            ("http://user@proxy", InvalidProxy::Login),
            ("http://user:%zz@proxy", InvalidProxy::Login),
            ("http://user:%0d%0a@proxy", InvalidProxy::Login),
            ("http://:password@proxy", InvalidProxy::Login),
        ] {
            assert_eq!(Proxy::parse(url).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_has_no_exceptions() {
        let environment = |name: &str| match name {
            "ALL_PROXY" => Some("socks5://all:1".to_owned()),
            "https_proxy" => Some("http://https:2".to_owned()),
            "HTTPS_PROXY" => Some(" ".to_owned()),
            "NO_PROXY" => Some(".inside.example".to_owned()),
            _ => None,
        };
        let way = |flag: Option<&str>, host: &str| {
            let flag = flag.map(Secret::new);
            let proxies = Proxies::choose(flag.as_ref(), environment).unwrap();
            proxies.on_the_way_to(host).map(|proxy| proxy.to_string())
        };
        assert_eq!(way(None, "platform.example").as_deref(), Some("http://https:2"));
        assert_eq!(way(None, "broker.inside.example"), None);
        assert_eq!(way(None, "127.0.0.1"), None);
        assert_eq!(way(Some("socks5://flag"), "127.0.0.1").as_deref(), Some("socks5://flag:1080"));
        assert_eq!(way(Some("none"), "platform.example"), None);
        let wrong = Proxies::choose(Some(&Secret::new("ftp://user:hidden@x")), environment).unwrap_err();
        assert_eq!(wrong.to_string(), "--proxy names no proxy: its scheme is not http, socks5 or socks5h");
    }
}
