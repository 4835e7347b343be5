# Rules of cmake --install.
