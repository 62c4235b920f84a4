//! Names of devices: `vendor.com/class=name`.

use std::fmt;

/// A device as a person asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceName {
    /// Vendor and class, as `vendor.com/class`.
    pub(super) kind: String,
    /// The device of that kind.
    pub(super) name: String,
}

impl DeviceName {
    /// Reads `VENDOR/CLASS=NAME`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('=')
            .ok_or("it is not of the form VENDOR/CLASS=NAME")?;
        check_kind(kind)?;
        check_name(name)?;
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.name)
    }
}

/// Whether `kind` is a vendor and a class, SPEC.md "Kind".
pub(super) fn check_kind(kind: &str) -> Result<(), String> {
    let parts = kind.split_once('/').filter(|(vendor, class)| {
        let lengths = vendor.len() <= 253 && class.len() <= 63;
        let letters =
            [vendor, class].map(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
        lengths && letters == [true; 2] && is_word(vendor, "-_.") && is_word(class, "-_.")
    });
    match parts {
        Some(_) => Ok(()),
        None => Err(format!(
            "\"{kind}\" is no kind of device, such as vendor.com/class"
        )),
    }
}

/// Whether `name` can be a device's, SPEC.md "CDI Devices"; colons as the reference takes them.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if is_word(name, "-_.:") {
        Ok(())
    } else {
        Err(format!("\"{name}\" is no name of a device"))
    }
}

/// Whether `text` begins and ends with a letter or digit, with these and `between` in between.
fn is_word(text: &str, between: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || between.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_vendor_class_and_device() {
        for text in [
            "vendor.com/class=name",
            "nvidia.com/gpu=all",
            "nvidia.com/gpu=0:1",
            "a.b-c.example/x_y.z=GPU-1_2.3",
        ] {
            assert_eq!(DeviceName::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "vendor.com/class",
            "vendor.com=name",
            "vendor.com/class=",
            "/class=name",
            "vendor.com/=name",
            "vendor.com/a/b=name",
            "1vendor/class=name",
            "vendor.com/class=a=b",
            "vendor.com/class=-a",
            "vendor.com/class=a b",
            "vendor.com./class=a",
            "/dev/x=y",
        ] {
            assert!(DeviceName::parse(text).is_err(), "{text}");
        }
    }
}
