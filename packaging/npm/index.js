'use strict';
// The functions and constants of threading.h. The functions in `wait` run on a thread of Node's pool and return a
// promise; `callback` and `unregister` are koffi's, for the functions that the library calls.

const fs = require('node:fs');
const koffi = require('koffi');
const path = require('node:path');

// The library of this package, or, on other processors, one that is installed in the system.
const packaged = path.join(__dirname, 'lib', `${process.platform}-${process.arch}`, 'libthreading.so.0');
const lib = require('./libthreading.js').load(
    fs.readFileSync(path.join(__dirname, 'threading.declarations'), 'utf8'),
    fs.existsSync(packaged) ? packaged : undefined);

lib.callback = (type, call) => koffi.register(call, type);
lib.unregister = koffi.unregister;
module.exports = lib;
