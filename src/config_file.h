/* Files of this user: $XDG_CONFIG_HOME/scistream, else ~/.config/scistream. */
#ifndef SRC_CONFIG_FILE_H
#define SRC_CONFIG_FILE_H

/* The path of one of them; heap. */
char *config_file(const char *name);
/* Make the folders that path lies in, for this user only. 0 or -errno. */
int config_make_folders(const char *path);

#endif
