//! Another static library written in Rust. It allocates memory, formats strings, starts a thread and catches a panic.

#[unsafe(no_mangle)]
pub extern "C" fn other_sum(n: u32) -> u64 {
    let lengths = std::thread::spawn(move || (0..n).map(|i| format!("{i}").len() as u64).sum());
    lengths.join().unwrap_or(0)
}

#[unsafe(no_mangle)]
pub extern "C" fn other_catches() -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    std::panic::catch_unwind(|| std::hint::black_box(Vec::<u8>::new())[0]).is_err()
}
