# The Nix expression: nix-build packaging/nix. The tests check only its syntax, because Nix downloads its packages.
{
  pkgs ? import <nixpkgs> { },
}:
let
  inherit (pkgs) lib;
  manifest = (lib.importTOML ../../Cargo.toml).package;
in
pkgs.stdenv.mkDerivation {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.cleanSource ../..;
  cargoDeps = pkgs.rustPlatform.importCargoLock { lockFile = ../../Cargo.lock; };

  nativeBuildInputs = [
    pkgs.cargo
    pkgs.cmake
    pkgs.lld
    pkgs.python3
    pkgs.rustPlatform.cargoSetupHook
    pkgs.rustc
  ];
  cmakeFlags = [
    "-DTHREADING_BUILD_TESTS=OFF"
    "-DTHREADING_BUILD_EXAMPLES=OFF"
  ];

  outputs = [
    "out"
    "dev"
    "doc"
    "man"
  ];

  meta = {
    description = builtins.head (lib.splitString ":" manifest.description);
    homepage = "https://libthreading.invalid";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    platforms = lib.platforms.linux;
  };
}
