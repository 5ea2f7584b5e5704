/* A program of two shared libraries that both have libthreading in them. */
int a_works(void);
int b_works(void);

int main(void)
{
    return a_works() == 1 && b_works() == 1 ? 0 : 1;
}
