module example.org/node

go 1.19
