'use strict';
// libthreading for koffi: the functions of threading.h, by the declarations that libthreading.py prints.
//
// load(declarations, file) returns an object with a function for each: lib.threading_lock_new() and so on. The file is
// the path of the library; by default, the loader finds it by its soname. The functions in lib.wait, as in
// `await lib.wait.threading_lock_acquire(lock)`, run on a thread of Node's pool, so that JavaScript continues.
// lib.address(name) is the address of a function, which can be passed as a callback.

const koffi = require('koffi');
const util = require('node:util');

const SONAME = 'libthreading.so.0';

function load(declarations, file = SONAME) {
    const library = koffi.load(file);
    const lib = {wait: {}, address: (name) => library.symbol(name)};
    for (const line of declarations.split('\n')) {
        let match;
        if ((match = line.match(/^enum { (\w+) = (-?\d+) };$/)))
            lib[match[1]] = Number(match[2]);
        else if ((match = line.match(/^typedef struct (\w+) /)))
            koffi.opaque(match[1]);
        else if ((match = line.match(/^typedef (.+)\(\*(\w+)\)(\(.*\));$/)))
            koffi.alias(match[2], koffi.pointer(koffi.proto(`${match[1]} ${match[2]}_function${match[3]}`)));
        else if ((match = line.match(/^typedef (\w+) (\w+);$/)))
            koffi.alias(match[2], match[1]);
        else if ((match = line.match(/(threading_\w+)\(/))) {
            const call = library.func(line.replace(/;$/, ''));
            lib[match[1]] = call;
            lib.wait[match[1]] = util.promisify(call.async);
        }
    }
    return lib;
}

module.exports = {load};
