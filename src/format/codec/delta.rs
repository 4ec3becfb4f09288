//! Differences of neighbours, modulo 2 to the width of an element; what is left over comes last, as it is.
#![forbid(unsafe_code)]

macro_rules! each_way {
    ($bytes:expr, $integer:ty, $step:expr) => {{
        let mut before: $integer = 0;
        for element in $bytes.as_chunks_mut::<{ size_of::<$integer>() }>().0 {
            let value = <$integer>::from_le_bytes(*element);
            let step: fn($integer, &mut $integer) -> $integer = $step;
            *element = step(value, &mut before).to_le_bytes();
        }
    }};
}

macro_rules! for_width {
    ($bytes:expr, $width:expr, $step:expr) => {
        match $width {
            1 => each_way!($bytes, u8, $step),
            2 => each_way!($bytes, u16, $step),
            4 => each_way!($bytes, u32, $step),
            _ => each_way!($bytes, u64, $step),
        }
    };
}

/// Widths there are.
pub(super) fn is_width(width: usize) -> bool {
    matches!(width, 1 | 2 | 4 | 8)
}

/// Replaces each element but the first by what it is more than the one before it.
pub(super) fn differences(bytes: &mut [u8], width: usize) {
    for_width!(bytes, width, |value, before| {
        let difference = value.wrapping_sub(*before);
        *before = value;
        difference
    });
}

/// Undoes [`differences`].
pub(super) fn sums(bytes: &mut [u8], width: usize) {
    for_width!(bytes, width, |value, before| {
        *before = before.wrapping_add(value);
        *before
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_undo_differences() {
        for width in [1usize, 2, 4, 8] {
            for len in 0..70 {
                let bytes: Vec<u8> = (0..len).map(|i| (i * i * 37 % 251) as u8).collect();
                let mut changed = bytes.clone();
                differences(&mut changed, width);
                sums(&mut changed, width);
                assert_eq!(bytes, changed, "{width} {len}");
            }
        }
        let mut bytes = [5, 0, 7, 0, 6, 0, 9];
        differences(&mut bytes, 2);
        assert_eq!([5, 0, 2, 0, 255, 255, 9], bytes);
    }
}
