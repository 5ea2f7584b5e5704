//! Event, semaphore and buffer, built from a mutex and a condition variable. The source is the same for both peers,
//! which differ only in how a wait returns the guard.

/// Defines the objects with the mutex and the condition variable of the calling module, which has the functions
/// `lock(&Mutex<T>) -> Guard<T>` and `wait(&Condvar, Guard<T>) -> Guard<T>`.
macro_rules! built_from {
    () => {
        /// Each object begins on its own cache line.
        #[repr(align(64))]
        pub struct Event {
            set: Mutex<bool>,
            changed: Condvar,
        }

        impl Event {
            pub fn new() -> Self {
                Self { set: Mutex::new(false), changed: Condvar::new() }
            }

            pub fn is_set(&self) -> bool {
                *lock(&self.set)
            }

            pub fn set(&self) {
                *lock(&self.set) = true;
                self.changed.notify_all();
            }

            pub fn clear(&self) {
                *lock(&self.set) = false;
            }

            pub fn wait(&self) {
                let mut set = lock(&self.set);
                while !*set {
                    set = wait(&self.changed, set);
                }
            }
        }

        #[repr(align(64))]
        pub struct Semaphore {
            value: Mutex<i64>,
            released: Condvar,
        }

        impl Semaphore {
            pub fn new(value: i64) -> Self {
                Self { value: Mutex::new(value), released: Condvar::new() }
            }

            pub fn acquire(&self) {
                let mut value = lock(&self.value);
                while *value == 0 {
                    value = wait(&self.released, value);
                }
                *value -= 1;
            }

            pub fn release(&self) {
                *lock(&self.value) += 1;
                self.released.notify_one();
            }
        }

        #[repr(align(64))]
        pub struct Buffer {
            items: Mutex<::std::collections::VecDeque<u64>>,
            size: usize,
            not_full: Condvar,
            not_empty: Condvar,
        }

        impl Buffer {
            pub fn new(size: usize) -> Self {
                Self {
                    items: Mutex::new(::std::collections::VecDeque::with_capacity(size)),
                    size,
                    not_full: Condvar::new(),
                    not_empty: Condvar::new(),
                }
            }

            pub fn put(&self, item: u64) {
                let mut items = lock(&self.items);
                while items.len() == self.size {
                    items = wait(&self.not_full, items);
                }
                items.push_back(item);
                drop(items);
                self.not_empty.notify_one();
            }

            pub fn get(&self) -> u64 {
                let mut items = lock(&self.items);
                loop {
                    if let Some(item) = items.pop_front() {
                        drop(items);
                        self.not_full.notify_one();
                        return item;
                    }
                    items = wait(&self.not_empty, items);
                }
            }
        }
    };
}

/// Exports `new` and `free` of a type, and functions that call its methods through a pointer.
macro_rules! export {
    ($type:ty: $new:ident($($parameter:ident: $kind:ty),*), $free:ident;
     $($name:ident = $method:ident($($argument:ident: $argument_type:ty),*) $(-> $result:ty)?;)*) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $new($($parameter: $kind),*) -> *mut $type {
            Box::into_raw(Box::new(<$type>::new($($parameter),*)))
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $free(object: *mut $type) {
            // SAFETY: by the contract of this crate, it is from Box::into_raw, and this is its last use.
            drop(unsafe { Box::from_raw(object) });
        }

        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(
                object: *const $type $(, $argument: $argument_type)*
            ) $(-> $result)? {
                // SAFETY: by the contract of this crate, it is alive.
                unsafe { &*object }.$method($($argument),*)
            }
        )*
    };
}

pub(crate) use built_from;
pub(crate) use export;
