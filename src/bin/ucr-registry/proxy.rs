//! The proxy that the environment names, by the variables that most programs read.

use std::ffi::OsString;

use ucr::command_error::CommandError;
use ucr::env_vars;
use ucr::settings::variable;
use ucr_puller::http::Proxies;

/// Reads which proxy to go through, and where not.
///
/// # Errors
/// A variable that is set and names no proxy.
pub(crate) fn from_environment() -> Result<Proxies, CommandError> {
    choose(variable)
}

fn choose(read: impl Fn(&str) -> Option<OsString>) -> Result<Proxies, CommandError> {
    let Some((name, value)) = first(&env_vars::PROXY, &read)? else {
        return Ok(Proxies::default());
    };
    let exceptions = first(&env_vars::NO_PROXY, &read)?;
    let exceptions = exceptions.map(|(_, list)| list).unwrap_or_default();
    Proxies::parse(name, &value, &exceptions).map_err(CommandError::new)
}

/// The first of these variables that is set.
fn first<'a>(
    names: &[&'a str],
    read: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<(&'a str, String)>, CommandError> {
    let found = names.iter().find_map(|name| Some((*name, read(name)?)));
    let Some((name, value)) = found else {
        return Ok(None);
    };
    let value = value
        .into_string()
        .map_err(|_value| CommandError::sentence(format!("${name} is not UTF-8")))?;
    Ok(Some((name, value)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn chosen(set: &[(&str, &str)]) -> String {
        let read = |name: &str| {
            let (_, value) = set.iter().find(|(key, _)| *key == name)?;
            Some(OsString::from(value))
        };
        format!("{:?}", choose(read).unwrap())
    }

    #[test]
    fn p27_lower_case_wins_and_https_wins_over_all() {
        let all = [
            ("https_proxy", "a.example"),
            ("HTTPS_PROXY", "b.example"),
            ("all_proxy", "c.example"),
            ("ALL_PROXY", "d.example"),
        ];
        for from in 0..all.len() {
            assert!(chosen(&all[from..]).contains(all[from].1));
        }
        assert!(!chosen(&[("http_proxy", "a.example")]).contains("a.example"));
    }

    #[test]
    fn p27_exceptions_are_read_in_either_case() {
        let proxy = ("https_proxy", "p.example");
        let lower = ("no_proxy", "a.example");
        let upper = ("NO_PROXY", "b.example");
        assert!(chosen(&[proxy, upper, lower]).contains("a.example"));
        assert!(chosen(&[proxy, upper]).contains("b.example"));
    }

    #[test]
    fn p27_a_variable_that_is_no_text_is_named() {
        let error = choose(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(error.message(), "$https_proxy is not UTF-8");
    }
}
