//! Names in an archive, made into places below its root.

/// Where an entry goes: the root itself, or a name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The root of the layer.
    Root,
    /// A name below it.
    Below {
        /// The directory's path from the root, without slashes at its ends; empty for the root.
        parent: Vec<u8>,
        /// One component, neither `.` nor `..`.
        name: Vec<u8>,
    },
}

/// Resolves a name of an archive lexically.
///
/// A leading slash and empty or `.` components mean nothing, and `..` takes
/// back the component before it.
///
/// # Errors
/// A name that climbs above the root, which no honest producer writes, or that
/// has a NUL in it; the text says which rule was broken.
pub(super) fn place(name: &[u8]) -> Result<Place, &'static str> {
    if name.contains(&0) {
        return Err("its name has a NUL in it");
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or("it climbs above the root")?;
            }
            _ => components.push(component),
        }
    }
    match components.split_last() {
        None => Ok(Place::Root),
        Some((name, parents)) => Ok(Place::Below {
            parent: parents.join(&b'/'),
            name: name.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(parent: &str, name: &str) -> Result<Place, &'static str> {
        Ok(Place::Below {
            parent: parent.into(),
            name: name.into(),
        })
    }

    #[test]
    fn l3_slashes_and_dots_mean_nothing() {
        assert_eq!(place(b"/abs/f"), below("abs", "f"));
        assert_eq!(place(b"//f"), below("", "f"));
        assert_eq!(place(b"./././f"), below("", "f"));
        assert_eq!(place(b"a//b/"), below("a", "b"));
    }

    #[test]
    fn l1_l2_l4_a_name_that_climbs_out_is_refused() {
        for name in ["../evil", "a/../../evil", "..", "/../etc", "../abc-evil/x"] {
            assert!(place(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn l5_a_name_that_stays_inside_is_not() {
        assert_eq!(place(b"a/../b"), below("", "b"));
        assert_eq!(place(b"a/.."), Ok(Place::Root));
        assert_eq!(place(b"."), Ok(Place::Root));
    }

    #[test]
    fn l15_bytes_are_kept_as_they_are() {
        assert_eq!(
            place(b"a\\b\n\xff/-rf"),
            Ok(Place::Below {
                parent: b"a\\b\n\xff".to_vec(),
                name: b"-rf".to_vec()
            })
        );
    }

    #[test]
    fn l16_a_nul_is_refused() {
        assert!(place(b"a\0b").is_err());
    }
}
