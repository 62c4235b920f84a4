//! Docker's `USER` strings, resolved against the image's own files.
//!
//! Pure: everything here takes bytes that an image may have chosen.

use serde::{Deserialize, Serialize};

use ucr_sys::task::Credentials;

/// Longest line looked at; a longer one is skipped, as no account is that long.
const LINE_MAX: usize = 4096;
/// Most supplementary groups, `NGROUPS_MAX` of limits.h since Linux 2.6.4.
const GROUPS_MAX: usize = 65_536;
/// 2^32-1 means "leave as it is" to chown(2) and setresuid(2), so it is no id.
const ID_MAX: u32 = u32::MAX - 1;

/// Why a user string cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// It is none of the forms that exist.
    #[error("user {0:?} is not one of NAME, UID, NAME:GROUP, UID:GID")]
    Malformed(String),
    /// A number that is no id.
    #[error("user {0:?}: an id is a decimal number from 0 to {ID_MAX} without leading zeros")]
    OutOfRange(String),
    /// No such line in the image's `/etc/passwd`.
    #[error("no user {0:?} in the image's /etc/passwd")]
    NoSuchUser(String),
    /// No such line in the image's `/etc/group`.
    #[error("no group {0:?} in the image's /etc/group")]
    NoSuchGroup(String),
}

/// A user or group as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// By number; never looked up as a name (CVE-2016-3697).
    Id(u32),
    /// By name.
    Name(String),
}

/// A parsed `USER` string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserName {
    user: Principal,
    group: Option<Principal>,
}

impl UserName {
    /// Parses `NAME`, `UID`, or either with `:GROUP` or `:GID`; empty is `0`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] or [`Error::OutOfRange`]; nothing odd ever becomes uid 0.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self {
                user: Principal::Id(0),
                group: None,
            });
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let principal = |part| Principal::parse(part, text);
        Ok(Self {
            user: principal(user)?,
            group: group.map(principal).transpose()?,
        })
    }
}

impl Principal {
    /// Parses a group that is named by itself.
    ///
    /// # Errors
    ///
    /// As [`UserName::parse`].
    pub fn parse_group(text: &str) -> Result<Self, Error> {
        Self::parse(text, text)
    }

    fn parse(part: &str, whole: &str) -> Result<Self, Error> {
        let malformed = || Error::Malformed(whole.to_owned());
        let mut bytes = part.bytes();
        match bytes.next().ok_or_else(malformed)? {
            b'0'..=b'9' if bytes.all(|byte| byte.is_ascii_digit()) => {
                let canonical = part == "0" || !part.starts_with('0');
                let id = part.parse().ok().filter(|id| canonical && *id <= ID_MAX);
                id.map(Self::Id)
                    .ok_or_else(|| Error::OutOfRange(whole.to_owned()))
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@$+-".contains(&byte);
                let good = part.len() <= 256 && part.bytes().all(fits);
                if good {
                    Ok(Self::Name(part.to_owned()))
                } else {
                    Err(malformed())
                }
            }
            _ => Err(malformed()),
        }
    }
}

/// Who a user string turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The ids.
    pub credentials: Credentials,
    /// The home directory from `/etc/passwd`, if there is a line for the user.
    pub home: Option<Vec<u8>>,
}

impl Resolved {
    /// Adds `groups` to the supplementary ones, by the content of `/etc/group`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGroup`].
    pub fn join(&mut self, groups: &[Principal], group: &[u8]) -> Result<(), Error> {
        for wanted in groups {
            let gid = match wanted {
                Principal::Id(gid) => *gid,
                Principal::Name(text) => {
                    group_id(text, group).ok_or_else(|| Error::NoSuchGroup(text.clone()))?
                }
            };
            if !self.credentials.groups.contains(&gid) {
                self.credentials.groups.push(gid);
            }
        }
        Ok(())
    }
}

/// Resolves `name` as Docker does, from the content of `/etc/passwd` and `/etc/group`.
///
/// Supplementary groups come from `/etc/group` unless a group was named; the
/// primary group is always one of them, so that a file that denies a group
/// denies it here too (CVE-2022-36109).
///
/// # Errors
///
/// [`Error::NoSuchUser`] or [`Error::NoSuchGroup`].
pub fn resolve(name: &UserName, passwd: &[u8], group: &[u8]) -> Result<Resolved, Error> {
    let account = Account::find(&name.user, passwd);
    let uid = match (&name.user, &account) {
        (Principal::Id(uid), _) => *uid,
        (Principal::Name(_), Some(account)) => account.uid,
        (Principal::Name(text), None) => return Err(Error::NoSuchUser(text.clone())),
    };
    let mut groups = Vec::new();
    let gid = match &name.group {
        Some(Principal::Id(gid)) => *gid,
        Some(Principal::Name(text)) => {
            group_id(text, group).ok_or_else(|| Error::NoSuchGroup(text.clone()))?
        }
        None => {
            groups = account
                .as_ref()
                .map_or(Vec::new(), |account| memberships(account.name, group));
            account.as_ref().map_or(0, |account| account.gid)
        }
    };
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    let home = account
        .map(|account| account.home.to_vec())
        .filter(|home| !home.is_empty());
    Ok(Resolved {
        credentials: Credentials { uid, gid, groups },
        home,
    })
}

/// The home directory of `uid` in the content of `/etc/passwd`.
pub fn home_of(uid: u32, passwd: &[u8]) -> Option<Vec<u8>> {
    let account = Account::find(&Principal::Id(uid), passwd)?;
    (!account.home.is_empty()).then(|| account.home.to_vec())
}

/// One line of passwd(5).
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl<'a> Account<'a> {
    fn find(wanted: &Principal, passwd: &'a [u8]) -> Option<Self> {
        lines(passwd)
            .filter_map(Self::parse)
            .find(|account| match wanted {
                Principal::Id(uid) => account.uid == *uid,
                Principal::Name(name) => account.name == name.as_bytes(),
            })
    }

    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        // A NUL could not be passed on in HOME.
        let home = if home.contains(&0) { &[] } else { home };
        Some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

fn group_id(name: &str, group: &[u8]) -> Option<u32> {
    lines(group).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let found = fields.next()? == name.as_bytes();
        found.then(|| fields.nth(1).and_then(id)).flatten()
    })
}

fn memberships(user: &[u8], group: &[u8]) -> Vec<u32> {
    let mut gids = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in lines(group) {
        let mut fields = line.split(|byte| *byte == b':');
        let gid = fields.nth(2).and_then(id);
        let members = fields.next().unwrap_or_default();
        let member = members
            .split(|byte| *byte == b',')
            .any(|member| member == user);
        if let Some(gid) = gid.filter(|gid| member && seen.insert(*gid)) {
            gids.push(gid);
        }
        // One is left for the primary group.
        if gids.len() == GROUPS_MAX - 1 {
            break;
        }
    }
    gids
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() <= LINE_MAX && !line.is_empty())
}

fn id(field: &[u8]) -> Option<u32> {
    let digits = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(field).ok().filter(|_| digits)?;
    text.parse().ok().filter(|id| *id <= ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        1000:x:0:0:a trap:/trap:/bin/sh\n\
        web:x:1000:1001::/srv/web:/bin/sh\n\
        bad line\nwrap:x:4294967296:0::/:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:web,root\nstaff:x:50:x,web\nweb:x:1001:\n\
        neg:x:-1:web\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), Error> {
        let resolved = resolve(&UserName::parse(text)?, PASSWD, GROUP)?;
        let Credentials { uid, gid, groups } = resolved.credentials;
        Ok((uid, gid, groups))
    }

    #[test]
    fn forms_that_docker_knows() {
        assert_eq!(ids("").unwrap(), (0, 0, vec![0, 4]));
        assert_eq!(ids("root").unwrap(), (0, 0, vec![0, 4]));
        assert_eq!(ids("web").unwrap(), (1000, 1001, vec![1001, 4, 50]));
        assert_eq!(ids("web:staff").unwrap(), (1000, 50, vec![50]));
        assert_eq!(ids("web:7").unwrap(), (1000, 7, vec![7]));
        assert_eq!(ids("5000").unwrap(), (5000, 0, vec![0]));
        assert_eq!(ids("5000:6000").unwrap(), (5000, 6000, vec![6000]));
    }

    #[test]
    fn s12_a_number_is_never_a_name() {
        assert_eq!(ids("1000").unwrap(), (1000, 1001, vec![1001, 4, 50]));
    }

    #[test]
    fn s13_odd_users_are_refused_or_exactly_what_they_say() {
        for text in [
            "4294967296",
            "4294967295",
            "-1",
            "0x0",
            "1e3",
            " 0",
            "0 ",
            "00",
            "007",
            "root:",
            "\u{660}",
            ":",
            ":0",
            "a:b:c",
            "root\n",
            "99999999999999999999",
            "+0",
            "web: 0",
        ] {
            let error = UserName::parse(text).expect_err(text);
            assert!(
                matches!(error, Error::Malformed(_) | Error::OutOfRange(_)),
                "{text:?}"
            );
        }
        assert_eq!(ids("2147483648").unwrap().0, 2_147_483_648);
        assert_eq!(ids("wrap"), Err(Error::NoSuchUser("wrap".into())));
        assert_eq!(ids("nobody"), Err(Error::NoSuchUser("nobody".into())));
        assert_eq!(ids("web:nobody"), Err(Error::NoSuchGroup("nobody".into())));
    }

    #[test]
    fn s14_many_and_long_lines_are_bounded() {
        let mut passwd = vec![b'a'; 10_000_000];
        passwd.push(b'\n');
        for _ in 0..1_000_000 {
            passwd.extend_from_slice(b"x:y\n");
        }
        passwd.extend_from_slice(b"web:x:7:8::/h:\n");
        let resolved = resolve(&UserName::parse("web").unwrap(), &passwd, b"").unwrap();
        assert_eq!(resolved.credentials.uid, 7);
        let group: Vec<u8> = (0..100_000)
            .flat_map(|gid| format!("g:x:{gid}:web\n").into_bytes())
            .collect();
        let resolved = resolve(&UserName::parse("web").unwrap(), &passwd, &group).unwrap();
        assert!(resolved.credentials.groups.len() <= GROUPS_MAX);
    }

    #[test]
    fn s15_the_primary_group_is_among_the_supplementary_ones() {
        assert_eq!(ids("web").unwrap().2, vec![1001, 4, 50]);
    }

    #[test]
    fn the_home_directory_is_that_of_the_user() {
        let home = |text| {
            resolve(&UserName::parse(text).unwrap(), PASSWD, GROUP)
                .unwrap()
                .home
        };
        assert_eq!(home("web").unwrap(), b"/srv/web");
        assert_eq!(home("5000"), None);
        assert_eq!(home_of(0, PASSWD).unwrap(), b"/root");
    }
}
