//! Byte shuffle: the first bytes of all elements, then the second ones, ...; what is left over comes last, as it is.
#![forbid(unsafe_code)]

/// Shuffles `bytes`, elements of `width` bytes, into `out` of the same length.
pub(super) fn shuffle(bytes: &[u8], width: usize, out: &mut [u8]) {
    let count = bytes.len() / width;
    let (whole, rest) = bytes.split_at(count * width);
    let (planes, tail) = out.split_at_mut(count * width);
    tail.copy_from_slice(rest);
    if count == 0 {
        return;
    }
    let mut planes: Vec<&mut [u8]> = planes.chunks_exact_mut(count).collect();
    match &mut planes[..] {
        [a, b] => {
            let pairs = whole.chunks_exact(2).zip(a.iter_mut().zip(b.iter_mut()));
            pairs.for_each(|(from, (a, b))| (*a, *b) = (from[0], from[1]));
        }
        [_, _, _, _, _, _, _, _] => {
            let done = count / 8 * 8;
            for (at, group) in (0..done).step_by(8).zip(whole.chunks_exact(64)) {
                let rows = transpose(words(group));
                for (plane, row) in planes.iter_mut().zip(rows) {
                    plane[at..at + 8].copy_from_slice(&row.to_le_bytes());
                }
            }
            spread(&whole[done * 8..], &mut planes, done);
        }
        planes => spread(whole, planes, 0),
    }
}

fn spread(elements: &[u8], planes: &mut [&mut [u8]], from: usize) {
    for (i, element) in elements.chunks_exact(planes.len()).enumerate() {
        for (plane, &byte) in planes.iter_mut().zip(element) {
            plane[from + i] = byte;
        }
    }
}

/// Undoes [`shuffle`].
pub(super) fn unshuffle(shuffled: &[u8], width: usize, out: &mut [u8]) {
    let count = out.len() / width;
    let (planes, rest) = shuffled.split_at(count * width);
    let (whole, tail) = out.split_at_mut(count * width);
    tail.copy_from_slice(rest);
    match width {
        2 => join2(planes, whole),
        4 => join4(planes, whole),
        8 => join8(planes, whole),
        _ => gather(planes, count, width, 0, whole),
    }
}

fn join2(planes: &[u8], out: &mut [u8]) {
    let (a, b) = planes.split_at(planes.len() / 2);
    for ((to, &a), &b) in out.as_chunks_mut::<2>().0.iter_mut().zip(a).zip(b) {
        *to = [a, b];
    }
}

fn join4(planes: &[u8], out: &mut [u8]) {
    let count = out.len() / 4;
    let [a, b, c, d] = [0, 1, 2, 3].map(|k| planes[k * count..(k + 1) * count].as_chunks::<16>().0);
    let (groups, _) = out.as_chunks_mut::<64>();
    let done = groups.len() * 16;
    for ((((to, a), b), c), d) in groups.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let (ac, bd) = (zip(a, c), zip(b, d));
        let [low, high] = [zip_halves(&ac, &bd, 0), zip_halves(&ac, &bd, 16)];
        to[..32].copy_from_slice(&low);
        to[32..].copy_from_slice(&high);
    }
    gather(planes, count, 4, done, &mut out[done * 4..]);
}

/// Bytes of `a` and `b` by turns.
fn zip(a: &[u8; 16], b: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    for i in 0..16 {
        out[2 * i] = a[i];
        out[2 * i + 1] = b[i];
    }
    out
}

/// 16 bytes of each from `at` on, by turns.
fn zip_halves(a: &[u8; 32], b: &[u8; 32], at: usize) -> [u8; 32] {
    let mut out = [0; 32];
    for i in 0..16 {
        out[2 * i] = a[at + i];
        out[2 * i + 1] = b[at + i];
    }
    out
}

fn join8(planes: &[u8], out: &mut [u8]) {
    let count = out.len() / 8;
    let plane = |k: usize| planes[k * count..(k + 1) * count].as_chunks::<16>().0;
    let [a, b, c, d] = [0, 1, 2, 3].map(&plane);
    let [e, f, g, h] = [4, 5, 6, 7].map(plane);
    let (groups, _) = out.as_chunks_mut::<128>();
    let done = groups.len() * 16;
    for (i, to) in groups.iter_mut().enumerate() {
        let (ae, bf, cg, dh) = (zip(&a[i], &e[i]), zip(&b[i], &f[i]), zip(&c[i], &g[i]), zip(&d[i], &h[i]));
        for half in 0..2 {
            let aceg = zip_halves(&ae, &cg, 16 * half);
            let bdfh = zip_halves(&bf, &dh, 16 * half);
            let to = &mut to[64 * half..64 * half + 64];
            to[..32].copy_from_slice(&zip_halves(&aceg, &bdfh, 0));
            to[32..].copy_from_slice(&zip_halves(&aceg, &bdfh, 16));
        }
    }
    gather(planes, count, 8, done, &mut out[done * 8..]);
}

/// Elements from `from` on, byte for byte.
fn gather(planes: &[u8], count: usize, width: usize, from: usize, out: &mut [u8]) {
    for (k, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        for (element, &byte) in out.chunks_exact_mut(width).zip(&plane[from..]) {
            element[k] = byte;
        }
    }
}

fn words(group: &[u8]) -> [u64; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(group.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// A square of 8 x 8 bytes with rows and columns exchanged: first its quarters of 4 x 4, then theirs, ...
fn transpose(mut rows: [u64; 8]) -> [u64; 8] {
    const STAGES: [(usize, u32, u64); 3] =
        [(4, 32, 0x0000_0000_ffff_ffff), (2, 16, 0x0000_ffff_0000_ffff), (1, 8, 0x00ff_00ff_00ff_00ff)];
    for (step, bits, mask) in STAGES {
        for k in (0..8).filter(|k| k & step == 0) {
            let swap = ((rows[k] >> bits) ^ rows[k + step]) & mask;
            rows[k + step] ^= swap;
            rows[k] ^= swap << bits;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shuffled_comes_back_at_every_width_and_length() {
        for width in [2usize, 3, 4, 7, 8, 16] {
            for len in (0..300).chain([4096, 4097]) {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 37 % 251) as u8).collect();
                let (mut shuffled, mut back) = (vec![0; len], vec![0; len]);
                shuffle(&bytes, width, &mut shuffled);
                let count = len / width;
                for (at, byte) in bytes[..count * width].iter().enumerate() {
                    assert_eq!(*byte, shuffled[at % width * count + at / width], "{width} {len}");
                }
                unshuffle(&shuffled, width, &mut back);
                assert_eq!(bytes, back, "{width} {len}");
            }
        }
    }
}
