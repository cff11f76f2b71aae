module labsupport/lab

go 1.26.0
