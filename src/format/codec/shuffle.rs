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
        [a, b, c, d] => {
            let done = count / 16 * 16;
            for (at, group) in (0..done).step_by(16).zip(whole.as_chunks::<64>().0) {
                let split = |half: usize| unzip(group[32 * half..].first_chunk().unwrap_or(&[0; 32]));
                let [(ac, bd), (ac_, bd_)] = [split(0), split(1)];
                let ((a_, c_), (b_, d_)) = (unzip(&join(&ac, &ac_)), unzip(&join(&bd, &bd_)));
                for (plane, row) in [&mut *a, b, c, d].into_iter().zip([a_, b_, c_, d_]) {
                    plane[at..at + 16].copy_from_slice(&row);
                }
            }
            spread(&whole[done * 4..], &mut planes, done);
        }
        [_, _, _, _, _, _, _, _] => {
            let done = count / LINE * LINE;
            for (at, elements) in (0..done).step_by(LINE).zip(whole.chunks_exact(8 * LINE)) {
                let mut lines = [[0; LINE]; 8];
                for (i, group) in elements.as_chunks::<128>().0.iter().enumerate() {
                    for (line, row) in lines.iter_mut().zip(split8(group)) {
                        line[16 * i..16 * i + 16].copy_from_slice(&row);
                    }
                }
                for (plane, line) in planes.iter_mut().zip(lines) {
                    plane[at..at + LINE].copy_from_slice(&line);
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

/// Elements that are joined or split at once: a cache line of every plane, since planes lie such that their lines are in each
/// other's way in the cache.
const LINE: usize = 64;

/// The line of every plane that starts at element `at`.
fn lines<const W: usize>(planes: &[u8], count: usize, at: usize) -> [[u8; LINE]; W] {
    let mut lines = [[0; LINE]; W];
    for (k, line) in lines.iter_mut().enumerate() {
        line.copy_from_slice(&planes[k * count + at..k * count + at + LINE]);
    }
    lines
}

fn join4(planes: &[u8], out: &mut [u8]) {
    let count = out.len() / 4;
    let done = count / LINE * LINE;
    for (at, to) in (0..done).step_by(LINE).zip(out.chunks_exact_mut(4 * LINE)) {
        let [a, b, c, d] = lines::<4>(planes, count, at);
        let parts = [&a, &b, &c, &d].map(|line| line.as_chunks::<16>().0);
        for (i, to) in to.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let (ac, bd) = (zip(&parts[0][i], &parts[2][i]), zip(&parts[1][i], &parts[3][i]));
            to[..32].copy_from_slice(&zip_halves(&ac, &bd, 0));
            to[32..].copy_from_slice(&zip_halves(&ac, &bd, 16));
        }
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
    let done = count / LINE * LINE;
    for (at, to) in (0..done).step_by(LINE).zip(out.chunks_exact_mut(8 * LINE)) {
        let lines = lines::<8>(planes, count, at);
        let parts = lines.each_ref().map(|line| line.as_chunks::<16>().0);
        for (i, to) in to.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let [ae, bf, cg, dh] = [0, 1, 2, 3].map(|k| zip(&parts[k][i], &parts[k + 4][i]));
            for half in 0..2 {
                let aceg = zip_halves(&ae, &cg, 16 * half);
                let bdfh = zip_halves(&bf, &dh, 16 * half);
                let to = &mut to[64 * half..64 * half + 64];
                to[..32].copy_from_slice(&zip_halves(&aceg, &bdfh, 0));
                to[32..].copy_from_slice(&zip_halves(&aceg, &bdfh, 16));
            }
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

/// Every other byte from the first on, and those between.
fn unzip(bytes: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (mut even, mut odd) = ([0; 16], [0; 16]);
    for i in 0..16 {
        even[i] = bytes[2 * i];
        odd[i] = bytes[2 * i + 1];
    }
    (even, odd)
}

fn join(a: &[u8; 16], b: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    out[..16].copy_from_slice(a);
    out[16..].copy_from_slice(b);
    out
}

/// The planes of 16 elements of 8 bytes: those of even and of odd bytes first, then theirs, ...
fn split8(group: &[u8; 128]) -> [[u8; 16]; 8] {
    let parts = group.as_chunks::<32>().0;
    let [p, q, r, s] = [0, 1, 2, 3].map(|i| unzip(&parts[i]));
    let halves = |a, b, c, d| {
        let ((a, b), (c, d)) = (unzip(&join(a, b)), unzip(&join(c, d)));
        let ((first, third), (second, fourth)) = (unzip(&join(&a, &c)), unzip(&join(&b, &d)));
        [first, second, third, fourth]
    };
    let [a, c, e, g] = halves(&p.0, &q.0, &r.0, &s.0);
    let [b, d, f, h] = halves(&p.1, &q.1, &r.1, &s.1);
    [a, b, c, d, e, f, g, h]
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
