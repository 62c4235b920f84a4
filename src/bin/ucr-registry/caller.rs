//! Who runs this command, for the record.

use ucr::env_vars;
use ucr::settings::variable;

/// The caller's name: who called sudo, if somebody did, else who owns this process.
///
/// It is a note for colleagues and no proof: a caller may set the variable.
pub(crate) fn name() -> String {
    let uid = ucr_sys::user_id();
    let own = user_name(uid).unwrap_or_else(|| format!("user {uid}"));
    match variable(env_vars::SUDO_USER) {
        Some(user) if uid == 0 => format!("{} (as {own})", user.to_string_lossy()),
        _ => own,
    }
}

/// The name in passwd(5); users of other databases go by their number.
fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let number = uid.to_string();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&number))?;
    Some(line.split(':').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_its_name_and_nobody_s_number_has_none() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 1), None);
    }
}
