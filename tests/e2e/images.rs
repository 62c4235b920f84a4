//! Images that several tests need.

use test_support::{Image, ImageBuilder, Layer, LayerBuilder, busybox_layer};

/// A busybox that runs its shell.
pub(crate) fn busybox() -> Image {
    builder().build()
}

/// The same, to be gone on with.
pub(crate) fn builder() -> ImageBuilder {
    ImageBuilder::new().layer(busybox_layer()).cmd(&["sh"])
}

/// A small layer with one file.
pub(crate) fn layer(name: &str, content: impl AsRef<[u8]>) -> Layer {
    LayerBuilder::new().file(name, content).build()
}

/// A small image of one file, which nothing can be run from.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> Image {
    ImageBuilder::new()
        .layer(layer(name, content))
        .cmd(&["none"])
        .build()
}

/// Bytes that no compression shortens, always the same (splitmix64).
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut words = Vec::with_capacity(length + 8);
    while words.len() < length {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        words.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    words.truncate(length);
    words
}
